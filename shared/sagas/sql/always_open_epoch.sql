-- A restored dump goes on in a new epoch.
SELECT open_epoch('saga_history');
