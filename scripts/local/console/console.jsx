import "graphiql/style.css";
import "./page.css";

import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { getOperationAST, parse } from "graphql";
import { createClient } from "graphql-sse";
import { createRoot } from "react-dom/client";

// Monaco names its plain-text worker differently from the file that holds it.
const WORKERS = { graphql: "graphql.worker.js", json: "json.worker.js" };

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(`/graphql/console/${WORKERS[label] ?? "editor.worker.js"}`),
};

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

const ask = createGraphiQLFetcher({ url: "/graphql" });

// Return a subscription that GraphiQL can end at any moment, also between two results. After a lost connection it resumes
// behind the last result; a refusal by the server ends it, and GraphiQL shows the error.
const follow = (operation, headers) => ({
  subscribe({ next, error, complete }) {
    let last, refusal;
    const client = createClient({
      url: "/graphql",
      headers: () => ({ ...headers, ...(last && { "Last-Event-ID": last }) }),
      fetchFn: async (...request) => {
        const response = await fetch(...request);
        refusal = response.ok ? undefined : (await response.clone().json()).errors[0];
        return response;
      },
      retryAttempts: Infinity,
      retry: async () => {
        if (refusal) throw refusal;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      },
    });
    const shown = (result) => {
      last = result.extensions?.lastEventId ?? last;
      next(result);
    };
    return { unsubscribe: client.subscribe(operation, { next: shown, error, complete }) };
  },
});

// Parse the text of the request: GraphiQL's own parsed document lags behind the typing.
const isSubscription = ({ query, operationName }) => {
  try {
    return getOperationAST(parse(query), operationName)?.operation === "subscription";
  } catch {
    return false; // the server reports the syntax error
  }
};

const fetcher = (operation, options) =>
  isSubscription(operation) ? follow(operation, options?.headers) : ask(operation, options);

// No plugins: the history would keep the headers, and so users' tokens, in the browser's storage.
createRoot(document.getElementById("console")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultQuery={DEFAULT_QUERY}
    defaultEditorToolsVisibility="headers"
    plugins={[]}
  />,
);
