import { graphql, type ResultOf } from "../api/graphql.ts";

/** An event of a stream with the state before and after it, as the pages of an order and of a stream show it. */
export const HISTORY_ENTRY = graphql(`
  fragment EntryOfHistory on EventHistoryEntry {
    event {
      id
      aggregateType
      eventType
      eventVersion
      eventData
      metadata
      insertedAt
    }
    before
    after
    changes {
      field
      before
      after
    }
  }
`);

export type HistoryEntry = ResultOf<typeof HISTORY_ENTRY>;
