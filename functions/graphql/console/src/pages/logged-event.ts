import { graphql, type ResultOf } from "../api/graphql.ts";

/** An event as it stands in the log. */
export const LOGGED_EVENT = graphql(`
  fragment LoggedEvent on Event {
    id
    aggregateId
    aggregateType
    eventType
    eventVersion
    eventData
    metadata
    insertedAt
  }
`);

/** An event of a stream with the state before and after it. */
export const HISTORY_ENTRY = graphql(`
  fragment EntryOfHistory on EventHistoryEntry {
    event {
      ...LoggedEvent
    }
    before
    after
    changes {
      field
      before
      after
    }
  }
`, [LOGGED_EVENT]);

export type LoggedEvent = ResultOf<typeof LOGGED_EVENT>;
export type HistoryEntry = ResultOf<typeof HISTORY_ENTRY>;
