-- Run by every migration: a restored dump continues in a new epoch.
SELECT open_epoch();
