import type { TadaDocumentNode } from "gql.tada";
import type { AnyVariables } from "urql";

import { ask } from "../api/client.ts";
import { type Failure, failureOf, isRefusal } from "../api/failure.ts";
import { graphql } from "../api/graphql.ts";

export type Found = { href: string; what: "order" | "product" | "category" | "deadLetter" | "customer" | "events" | "caused" | "executions"; label: string };

/**
 * `masked`: some of it is only shown to others than this person. `recent`: the text may be the end of an order's id, of
 * which only the newest orders were searched.
 */
export type Answer = { found: Found[]; masked: boolean; recent?: boolean };

/** How many orders are searched by the end of their id: as many as the query asks for. */
export const RECENT_ORDERS = 100;

/** A search that the server could not answer, or did not. */
export class SearchFailed extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/i;

const BY_ID = graphql(`
  query FindById($id: ID!, $correlationId: String!) {
    category(id: $id) {
      name
    }
    product(id: $id) {
      name
    }
    order(id: $id) {
      status
    }
    deadLetter(id: $id) {
      type
    }
    eventsConnection(first: 1, filter: { correlationId: $correlationId }) {
      edges {
        node {
          id
        }
      }
    }
    caused: eventsConnection(first: 1, filter: { causationId: $correlationId }) {
      edges {
        node {
          eventType
        }
      }
    }
  }
`);

const BY_TRACE = graphql(`
  query FindByTrace($traceId: String!) {
    eventsConnection(first: 1, filter: { traceId: $traceId }) {
      edges {
        node {
          id
        }
      }
    }
    commandExecutionsConnection(first: 1, filter: { traceId: $traceId }) {
      edges {
        node {
          id
        }
      }
    }
    queryExecutionsConnection(first: 1, filter: { traceId: $traceId }) {
      edges {
        node {
          id
        }
      }
    }
  }
`);

const RECENT = graphql(`
  query RecentOrders($first: Int!) {
    ordersConnection(first: $first) {
      edges {
        node {
          id
          status
        }
      }
    }
  }
`);

const BY_CUSTOMER = graphql(`
  query FindByCustomer($id: String!) {
    ordersConnection(first: 1, filter: { userId: $id }) {
      edges {
        node {
          id
        }
      }
    }
  }
`);

const BY_NAME = graphql(`
  query FindByName($term: String!) {
    searchProducts(searchTerm: $term, limit: 5) {
      id
      name
    }
    searchCategories(searchTerm: $term, limit: 3) {
      id
      name
    }
  }
`);

/** Return the trace id in a text: 32 hexadecimal digits, alone or in a traceparent. */
export const traceIn = (text: string): string | undefined =>
  /^(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$/i.exec(text.trim())?.[1]?.toLowerCase();

/**
 * Find what an id or a name belongs to: order, product, category, dead letter, correlation, causation, trace or event
 * number. `mayAsk`: whether the person may ask for the orders of a user; nobody else's are asked for.
 */
export const find = async (text: string, mayAsk: (userId: string) => boolean): Promise<Answer> => {
  const typed = text.trim();
  const id = UUID.exec(typed)?.[0].toLowerCase();
  if (id) return await byId(id);
  const trace = traceIn(typed);
  if (trace) return await byTrace(trace);
  const end = /^(?:order-)?(?:…|\.{3})?([0-9a-f]{6,12})$/i.exec(typed)?.[1]?.toLowerCase();
  const orders = end ? await byEnd(end) : [];
  const recent = end !== undefined && orders.length === 0;
  const number = /^#?(\d+)$/.exec(typed)?.[1];
  if (number) {
    const event: Found = { href: `/events?id=${number}`, what: "events", label: `#${number}` };
    return { found: [...orders, event], masked: false, recent };
  }
  if (orders.length > 0) return { found: orders, masked: false };
  return typed ? { ...(await byName(typed, mayAsk(typed))), recent } : { found: [], masked: false };
};

/**
 * Return what a search answered. Each field answers for itself: an id that is no product's makes an error for `product`
 * only. Throw when a field could not be answered: what it would have found is not known.
 */
const answered = async <Data, Variables extends AnyVariables>(
  document: TadaDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<{ data: Data; masked: boolean }> => {
  const { data, error } = await ask(document, variables);
  const failure = error && failureOf(error);
  const codes = error?.graphQLErrors.map(({ extensions }) => String(extensions["code"])) ?? [];
  const fails = codes.length === 0 || !codes.every(isRefusal);
  if (failure && (!data || fails)) throw new SearchFailed(failure);
  if (!data) throw new SearchFailed({ code: "UNKNOWN", message: "no answer" });
  return { data, masked: codes.includes("FORBIDDEN") || codes.includes("UNAUTHENTICATED") };
};

const byId = async (id: string): Promise<Answer> => {
  const { data, masked } = await answered(BY_ID, { id, correlationId: id });
  const found: (Found | false | null | undefined)[] = [
    data.order && { href: `/orders/${id}`, what: "order", label: data.order.status },
    data.product && { href: `/products/${id}`, what: "product", label: data.product.name },
    data.category && { href: `/products?category=${id}`, what: "category", label: data.category.name },
    data.deadLetter && { href: `/dead-letters?id=${id}`, what: "deadLetter", label: data.deadLetter.type ?? id },
    (data.eventsConnection?.edges.length ?? 0) > 0 && {
      href: `/events?correlation=${id}`,
      what: "events",
      label: id,
    },
    (data.caused?.edges.length ?? 0) > 0 && {
      href: `/events?causation=${id}`,
      what: "caused",
      label: data.caused?.edges[0]?.node.eventType ?? id,
    },
  ];
  return { found: found.filter((one): one is Found => Boolean(one)), masked };
};

const byTrace = async (trace: string): Promise<Answer> => {
  const { data, masked } = await answered(BY_TRACE, { traceId: trace });
  const found: (Found | false)[] = [
    (data.eventsConnection?.edges.length ?? 0) > 0 && { href: `/events?trace=${trace}`, what: "events", label: trace },
    (data.commandExecutionsConnection?.edges.length ?? 0) > 0 && {
      href: `/executions?trace=${trace}`,
      what: "executions",
      label: trace,
    },
    (data.queryExecutionsConnection?.edges.length ?? 0) > 0 && {
      href: `/executions?kind=queries&trace=${trace}`,
      what: "executions",
      label: trace,
    },
  ];
  return { found: found.filter((one) => one !== false), masked };
};

/** Find recent orders by the end of their id, which is what lists show of it. */
const byEnd = async (end: string): Promise<Found[]> => {
  const { data } = await answered(RECENT, { first: RECENT_ORDERS });
  return (data.ordersConnection?.edges ?? [])
    .filter(({ node: { id } }) => id.endsWith(end))
    .map(({ node: { id, status } }) => ({ href: `/orders/${id}`, what: "order", label: `…${id.slice(-8)} ${status}` }));
};

const byName = async (term: string, asCustomer: boolean): Promise<Answer> => {
  const [{ data, masked }, orders] = await Promise.all([
    answered(BY_NAME, { term: term.slice(0, 200) }),
    asCustomer ? ofCustomer(term) : [],
  ]);
  const found = [
    ...(data.searchProducts ?? []).map(
      ({ id, name }): Found => ({ href: `/products/${id}`, what: "product", label: name }),
    ),
    ...(data.searchCategories ?? []).map(
      ({ id, name }): Found => ({ href: `/products?category=${id}`, what: "category", label: name }),
    ),
    ...orders,
  ];
  return { found, masked };
};

/** Return the orders of a customer. The server refuses it, and records that, for others than the customer and admins. */
const ofCustomer = async (id: string): Promise<Found[]> => {
  const { data } = await answered(BY_CUSTOMER, { id: id.slice(0, 200) });
  const has = (data.ordersConnection?.edges.length ?? 0) > 0;
  return has ? [{ href: `/orders?user=${encodeURIComponent(id)}`, what: "customer", label: id }] : [];
};
