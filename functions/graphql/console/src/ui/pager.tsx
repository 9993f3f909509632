import type { PageInfo } from "../api/page-info.ts";
import { useT } from "../i18n/index.tsx";
import { Button } from "./button.tsx";
import { numberOf } from "./format.ts";
import { useUrl } from "./use-url.ts";

export const PAGE = 25;

/** The page that the address asks for, as the arguments of a connection. */
export const pageOf = (url: URLSearchParams, size = PAGE) => {
  const [after, before] = [url.get("after"), url.get("before")];
  return before ? { last: size, before, first: null, after: null } : { first: size, after, last: null, before: null };
};

export const Pager = ({ info, total }: { info: PageInfo; total?: number | null }) => {
  const t = useT();
  const [url, change] = useUrl();
  const paged = url.has("after") || url.has("before");
  const previous = info.hasPreviousPage || url.has("after") ? info.startCursor : null;
  const first = paged && (
    <Button onClick={() => change({ after: undefined, before: undefined }, false)}>{t("pager.first")}</Button>
  );
  const count = total !== undefined && total !== null && (
    <small>{t("pager.total", { n: numberOf(total, t.language) })}</small>
  );
  // An empty page has no cursors that lead to those around it.
  if (info.startCursor === null) {
    return (
      <div className="row center">
        {first}
        {count}
      </div>
    );
  }
  return (
    <div className="row center">
      <Button
        refused={previous ? undefined : t("pager.noPrevious")}
        onClick={() => change({ before: previous ?? undefined, after: undefined }, false)}
      >
        {t("pager.previous")}
      </Button>
      <Button
        refused={info.hasNextPage || url.has("before") ? undefined : t("pager.noNext")}
        onClick={() => change({ after: info.endCursor ?? undefined, before: undefined }, false)}
      >
        {t("pager.next")}
      </Button>
      {first}
      {count}
    </div>
  );
};
