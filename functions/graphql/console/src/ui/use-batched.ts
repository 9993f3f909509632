import { useCallback, useEffect, useRef } from "react";

/**
 * Collect the items of an animation frame and take them together, so that a page renders once for many results.
 * `flush` takes at once what is waiting.
 */
export const useBatched = <Item>(take: (items: Item[]) => void): { add: (item: Item) => void; flush: () => void } => {
  const taking = useRef(take);
  taking.current = take;
  const waiting = useRef<{ items: Item[]; frame?: number }>({ items: [] });

  const flush = useCallback(() => {
    const { items, frame } = waiting.current;
    waiting.current = { items: [] };
    if (frame !== undefined) cancelAnimationFrame(frame);
    if (items.length > 0) taking.current(items);
  }, []);
  const add = useCallback(
    (item: Item) => {
      waiting.current.items.push(item);
      waiting.current.frame ??= requestAnimationFrame(flush);
    },
    [flush],
  );
  useEffect(
    () => () => {
      if (waiting.current.frame !== undefined) cancelAnimationFrame(waiting.current.frame);
    },
    [],
  );
  return { add, flush };
};
