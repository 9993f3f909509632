import { createRoot } from "react-dom/client";

const root = document.getElementById("console");
if (root) {
  createRoot(root).render(
    <main>
      <h1>Shop console</h1>
      <a href="/graphql">GraphiQL</a>
    </main>,
  );
}
