import { graphql, type ResultOf } from "./graphql.ts";

/** What the pager needs to know of a page of a connection. */
export const PAGE_INFO = graphql(`
  fragment PageOfConnection on PageInfo {
    hasNextPage
    hasPreviousPage
    startCursor
    endCursor
  }
`);

export type PageInfo = ResultOf<typeof PAGE_INFO>;
