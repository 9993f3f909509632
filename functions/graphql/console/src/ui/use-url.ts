import { useCallback } from "react";
import { useLocation, useSearch } from "wouter";

import { changed, type Changes } from "./address.ts";

export type Change = (changes: Changes, replace?: boolean) => void;

/** Read and change the address's parameters: they hold the page's whole state, so that a reload or a link keeps it. */
export const useUrl = (): [URLSearchParams, Change] => {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const change = useCallback(
    (changes: Changes, replace = true) => {
      navigate(`${path}${changed(globalThis.location.search, changes)}`, { replace });
    },
    [navigate, path],
  );
  return [new URLSearchParams(search), change];
};
