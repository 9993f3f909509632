import { useCallback } from "react";
import { useLocation, useSearch } from "wouter";

type Changes = Record<string, string | undefined>;

/** Read and change the address's parameters: they hold the page's whole state, so that a reload or a link keeps it. */
export const useUrl = (): [URLSearchParams, (changes: Changes, replace?: boolean) => void] => {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const change = useCallback(
    (changes: Changes, replace = true) => {
      const next = new URLSearchParams(globalThis.location.search);
      for (const [name, value] of Object.entries(changes)) {
        if (value) next.set(name, value);
        else next.delete(name);
      }
      const text = next.toString();
      navigate(text ? `${path}?${text}` : path, { replace });
    },
    [navigate, path],
  );
  return [new URLSearchParams(search), change];
};
