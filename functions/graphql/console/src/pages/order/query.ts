import { graphql, type ResultOf } from "../../api/graphql.ts";
import { HISTORY_ENTRY } from "../logged-event.ts";

export const ORDER = graphql(`
  query OrderPage($id: ID!, $now: DateTime!) {
    order(id: $id, asOf: $now) {
      id
      userId
      status
      totalAmount
      currency
      paymentId
      shippingId
      reason
      createdAt
      updatedAt
      items {
        productId
        productName
        quantity
        unitPrice
        subtotal
      }
      timeline {
        at
        kind
        name
        status
        durationMs
        times
        lastAt
        subject
        id
        causationId
        error
      }
    }
    eventHistory(aggregateId: $id) {
      ...EntryOfHistory
    }
  }
`, [HISTORY_ENTRY]);

/** Asked apart from the order: a new order has no saga for a moment, and that is no failure. */
export const SAGA = graphql(`
  query OrderSaga($id: ID!) {
    saga(id: $id) {
      id
      status
      currentStep
      attempts
      deadlineAt
      reason
      correlationId
      commandsDispatched {
        commandType
        commandData
        timestamp
      }
      steps {
        name
        command
        compensation
        status
        attempts
        startedAt
        endedAt
        deadlineAt
        lastError
        undone
        undoAttempts
        undoneAt
      }
    }
  }
`);

/** Later than every event: the state of the write side, which is there also while the read models are not. */
export const NOW = "9999-12-31T23:59:59Z";

export const READ = graphql(`
  query OrderInQueries($id: ID!) {
    order(id: $id) {
      status
    }
  }
`);

export const UPDATES = graphql(`
  subscription OrderUpdates($id: ID!) {
    orderUpdates(id: $id) {
      status
    }
  }
`);

export const STOCK = graphql(`
  query StockAt($id: ID!, $at: DateTime!) {
    product(id: $id, asOf: $at) {
      name
      stockQuantity
      reservedQuantity
      availableQuantity
    }
  }
`);

/** Finds the version of a product's event by its time, of which the timeline has all six digits. */
export const PRODUCT_EVENT = graphql(`
  query ProductEvent($id: ID!, $type: String!, $at: DateTime!) {
    eventsConnection(first: 1, filter: { aggregateId: $id, eventType: $type, recordedAfter: $at }) {
      edges {
        node {
          eventVersion
          insertedAt
        }
      }
    }
  }
`);

export const PRODUCT_CHANGE = graphql(`
  query ProductChange($id: ID!, $after: Int!) {
    eventHistory(aggregateId: $id, afterVersion: $after, limit: 1) {
      event {
        eventData
      }
      changes {
        field
        before
        after
      }
    }
  }
`);

export const COMMANDS = graphql(`
  query OrderCommands($name: String!, $from: DateTime!, $to: DateTime!) {
    commandExecutionsConnection(first: 100, filter: { name: $name, recordedAfter: $from, recordedBefore: $to }) {
      edges {
        node {
          id
          aggregateId
          commandData
          eventsGenerated
        }
      }
    }
  }
`);

export const CANCEL = graphql(`
  mutation CancelOrder($id: ID!, $reason: String) {
    cancelOrder(id: $id, reason: $reason) {
      success
    }
  }
`);

export const RETRY = graphql(`
  mutation RetrySaga($id: ID!, $reason: String) {
    retrySaga(id: $id, reason: $reason) {
      id
    }
  }
`);

export const RESTART = graphql(`
  mutation RestartSaga($id: ID!, $fromStep: String!, $reason: String) {
    restartSaga(id: $id, fromStep: $fromStep, reason: $reason) {
      id
    }
  }
`);

type Page = ResultOf<typeof ORDER>;
export type OrderData = NonNullable<Page["order"]>;
export type SagaData = NonNullable<ResultOf<typeof SAGA>["saga"]>;
export type Step = SagaData["steps"][number];
export type Entry = OrderData["timeline"][number];

export const ENDED: readonly string[] = ["CONFIRMED", "CANCELLED", "FAILED"];
