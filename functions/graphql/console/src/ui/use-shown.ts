import { type RefObject, useEffect, useRef } from "react";

/** Return the place of what a click has chosen, which is scrolled into view when `chosen` changes. */
export const useShown = <Element extends HTMLElement>(chosen: string | number): RefObject<Element | null> => {
  const place = useRef<Element>(null);
  useEffect(() => {
    place.current?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  return place;
};
