import "graphiql/style.css";
import "./page.css";

import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
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

// No plugins: the history would keep the headers, and so users' tokens, in the browser's storage.
createRoot(document.getElementById("console")).render(
  <GraphiQL
    fetcher={createGraphiQLFetcher({ url: "/graphql" })}
    defaultQuery={DEFAULT_QUERY}
    defaultEditorToolsVisibility="headers"
    plugins={[]}
  />,
);
