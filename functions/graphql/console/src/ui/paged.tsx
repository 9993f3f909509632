import type { ReactNode } from "react";

import type { PageInfo } from "../api/page-info.ts";
import type { Asked } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "./answer.tsx";
import { pageState } from "./page-state.ts";
import { Pager } from "./pager.tsx";
import { useUrl } from "./use-url.ts";

export type Connection<Node> = {
  edges: readonly { node: Node }[];
  pageInfo: PageInfo;
  totalCount?: number | null;
};

type Props<Data, Node> = {
  asked: Asked<Data>;
  of: (data: Data) => Connection<Node> | null | undefined;
  /** What to say when nothing matches at all. */
  empty: ReactNode;
  children: (rows: Node[]) => ReactNode;
};

/** A page of a list, with the way to the others. A page that was emptied meanwhile is no empty list. */
export const Paged = <Data, Node>({ asked, of, empty, children }: Props<Data, Node>) => {
  const t = useT();
  const [url] = useUrl();
  const stateOf = (data: Data) => {
    const found = of(data);
    return found && pageState(found.edges.length, url);
  };
  return (
    <Answer asked={asked} isEmpty={(data) => stateOf(data) === "nothing"} empty={empty}>
      {(data) => {
        const found = of(data);
        if (!found) return null;
        return (
          <>
            {stateOf(data) === "rows" && children(found.edges.map(({ node }) => node))}
            {stateOf(data) === "emptied" && <p role="status">{t("pager.emptied")}</p>}
            <Pager info={found.pageInfo} total={found.totalCount} />
          </>
        );
      }}
    </Answer>
  );
};
