import { useEffect, useRef, useState } from "react";

import { throttle } from "./throttle.ts";

/** Return a function that calls the newest `run` at most once in so many milliseconds, and never after the page is left. */
export const useThrottled = (run: () => void, milliseconds: number): (() => void) => {
  const newest = useRef(run);
  newest.current = run;
  const [throttled] = useState(() => throttle(() => newest.current(), milliseconds));
  useEffect(() => throttled.cancel, [throttled]);
  return throttled.ask;
};
