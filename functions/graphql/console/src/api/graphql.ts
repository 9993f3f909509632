import { initGraphQLTada } from "gql.tada";

import type { introspection } from "./graphql-env.d.ts";

/** Types a query from schema.graphql; `npm run types` writes what it needs. */
export const graphql = initGraphQLTada<{
  introspection: introspection;
  disableMasking: true;
  scalars: { Decimal: string; DateTime: string; JSON: unknown; Long: number | string; ID: string };
}>();

export type { ResultOf, VariablesOf } from "gql.tada";
