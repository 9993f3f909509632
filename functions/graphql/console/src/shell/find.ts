import { client } from "../api/client.ts";
import { graphql } from "../api/graphql.ts";

export type Found = { href: string; what: "order" | "product" | "category" | "deadLetter" | "events" | "saga"; label: string };

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

/** Find what an id or a name belongs to: order, product, category, dead letter, correlation or event number. */
export const find = async (text: string): Promise<Found[]> => {
  const typed = text.trim();
  const id = UUID.exec(typed)?.[0].toLowerCase();
  if (id) return await byId(id);
  if (/^\d+$/.test(typed)) return [{ href: `/events?after=${Number(typed) - 1}`, what: "events", label: `#${typed}` }];
  return typed ? await byName(typed) : [];
};

const byId = async (id: string): Promise<Found[]> => {
  // Each field answers for itself: an id that is no product's makes an error for `product` only.
  const { data } = await client.query(BY_ID, { id, correlationId: id }).toPromise();
  const found: (Found | false | null | undefined)[] = [
    data?.order && { href: `/orders/${id}`, what: "order", label: data.order.status },
    data?.product && { href: `/products/${id}`, what: "product", label: data.product.name },
    data?.category && { href: `/products?category=${id}`, what: "category", label: data.category.name },
    data?.deadLetter && { href: `/dead-letters?id=${id}`, what: "deadLetter", label: data.deadLetter.type ?? id },
    (data?.eventsConnection?.edges.length ?? 0) > 0 && {
      href: `/events?correlation=${id}`,
      what: "events",
      label: id,
    },
  ];
  return found.filter((one): one is Found => Boolean(one));
};

const byName = async (term: string): Promise<Found[]> => {
  const { data } = await client.query(BY_NAME, { term: term.slice(0, 200) }).toPromise();
  return [
    ...(data?.searchProducts ?? []).map(
      ({ id, name }): Found => ({ href: `/products/${id}`, what: "product", label: name }),
    ),
    ...(data?.searchCategories ?? []).map(
      ({ id, name }): Found => ({ href: `/products?category=${id}`, what: "category", label: name }),
    ),
  ];
};
