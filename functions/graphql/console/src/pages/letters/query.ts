import { graphql, type ResultOf, type VariablesOf } from "../../api/graphql.ts";
import { PAGE_INFO } from "../../api/page-info.ts";

export const LETTERS = graphql(`
  query DeadLetters($first: Int, $after: String, $last: Int, $before: String, $filter: DeadLetterFilterInput) {
    deadLettersConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          id
          source
          type
          subject
          orderId
          attempts
          error
          status
          recordedAt
        }
      }
    }
  }
`, [PAGE_INFO]);

export const LETTER = graphql(`
  query DeadLetter($id: ID!) {
    deadLetter(id: $id) {
      id
      source
      topic
      type
      subject
      orderId
      attributes
      data
      attempts
      error
      firstError
      traceparent
      correlationId
      status
      recordedAt
      updatedAt
      history {
        kind
        at
        by
        attempts
        reason
      }
    }
  }
`);

export const IDS = graphql(`
  query DeadLetterIds($after: String, $filter: DeadLetterFilterInput) {
    deadLettersConnection(first: 500, after: $after, filter: $filter, sortOrder: ASC) {
      pageInfo {
        endCursor
      }
      edges {
        node {
          id
        }
      }
    }
  }
`);

export const RETRY = graphql(`
  mutation RetryDeadLetter($id: ID!, $reason: String) {
    retryDeadLetter(id: $id, reason: $reason) {
      status
    }
  }
`);

export const DISCARD = graphql(`
  mutation DiscardDeadLetter($id: ID!, $reason: String!) {
    discardDeadLetter(id: $id, reason: $reason) {
      status
    }
  }
`);

export type ListedLetter = NonNullable<ResultOf<typeof LETTERS>["deadLettersConnection"]>["edges"][number]["node"];
export type LetterFilter = NonNullable<VariablesOf<typeof LETTERS>["filter"]>;
