import "graphiql/style.css";
import "./page.css";

import { createGraphiQLFetcher, type Fetcher, type FetcherParams } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { getOperationAST, OperationTypeNode, parse } from "graphql";
import { createRoot } from "react-dom/client";

import { follow, type LiveResult } from "../api/follow.ts";

declare const WORKER_URLS: { editor: string; json: string; graphql: string };

const DEFAULT_QUERY = `# The first products: run with Ctrl-Enter.
# To act as a signed-in user, put this under
# "Headers": {"Authorization": "Bearer <token>"}
{
  products(limit: 5) {
    id
    name
    price
    currency
    stockQuantity
    category {
      name
    }
  }
}
`;

Object.assign(globalThis, {
  MonacoEnvironment: {
    getWorker: (_id: string, label: string) =>
      new Worker(label === "graphql" || label === "json" ? WORKER_URLS[label] : WORKER_URLS.editor),
  },
});

const ask = createGraphiQLFetcher({ url: "/graphql" });

// Parse the text of the request: GraphiQL's own parsed document lags behind the typing.
const isSubscription = ({ query, operationName }: FetcherParams): boolean => {
  try {
    return getOperationAST(parse(query), operationName)?.operation === OperationTypeNode.SUBSCRIPTION;
  } catch {
    return false; // the server reports the syntax error
  }
};

const subscribed = (operation: FetcherParams, headers: Record<string, string>) => ({
  subscribe: (sink: { next: (result: LiveResult) => void; error: (error: unknown) => void; complete: () => void }) => {
    const { query, operationName } = operation;
    const variables = operation.variables as Record<string, unknown> | undefined;
    const request = { query, operationName: operationName ?? undefined, variables };
    return { unsubscribe: follow(request, () => Promise.resolve(headers), sink) };
  },
});

const fetcher: Fetcher = (operation, options) => {
  // The toolkit's types name a package that is not installed.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-return
  return isSubscription(operation) ? subscribed(operation, options?.headers ?? {}) : ask(operation, options);
};

const root = document.getElementById("console");
if (root) {
  // No plugins: the history would keep the headers, and so users' tokens, in the browser's storage.
  createRoot(root).render(
    <GraphiQL fetcher={fetcher} defaultQuery={DEFAULT_QUERY} defaultEditorToolsVisibility="headers" plugins={[]}>
      <GraphiQL.Logo>
        <a href="/">Shop console</a>
      </GraphiQL.Logo>
    </GraphiQL>,
  );
}
