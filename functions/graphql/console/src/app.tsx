import { lazy, Suspense } from "react";
import { Route, Switch } from "wouter";

import { Languages, useT } from "./i18n/index.tsx";
import { ViewerProvider } from "./session/viewer.tsx";
import { Boundary } from "./shell/boundary.tsx";
import { Layout } from "./shell/layout.tsx";

const Overview = lazy(() => import("./pages/overview.tsx"));
const Orders = lazy(() => import("./pages/orders.tsx"));
const Order = lazy(() => import("./pages/order/order.tsx"));
const Products = lazy(() => import("./pages/products.tsx"));
const Product = lazy(() => import("./pages/product.tsx"));
const Categories = lazy(() => import("./pages/categories.tsx"));
const ShopWindow = lazy(() => import("./pages/shop-window.tsx"));
const Sagas = lazy(() => import("./pages/sagas.tsx"));
const Events = lazy(() => import("./pages/events.tsx"));
const Stream = lazy(() => import("./pages/stream.tsx"));
const Messages = lazy(() => import("./pages/messages.tsx"));
const DeadLetters = lazy(() => import("./pages/dead-letters.tsx"));
const ReadModels = lazy(() => import("./pages/read-models.tsx"));
const Topology = lazy(() => import("./pages/topology.tsx"));
const Executions = lazy(() => import("./pages/executions.tsx"));
const FaultLab = lazy(() => import("./pages/fault-lab.tsx"));
const Audit = lazy(() => import("./pages/audit.tsx"));
const Glossary = lazy(() => import("./pages/glossary.tsx"));

const NoSuchPage = () => {
  const t = useT();
  return (
    <>
      <h1>{t("nopage.title")}</h1>
      <p>{t("nopage.text")}</p>
    </>
  );
};

const Loading = () => {
  const t = useT();
  return (
    <p className="loading" role="status">
      {t("answer.loading")}
    </p>
  );
};

const Pages = () => (
  <Suspense fallback={<Loading />}>
    <Switch>
      <Route path="/" component={Overview} />
      <Route path="/orders" component={Orders} />
      <Route path="/orders/:id">{({ id }) => <Order key={id} id={id} />}</Route>
      <Route path="/products" component={Products} />
      <Route path="/products/:id">{({ id }) => <Product key={id} id={id} />}</Route>
      <Route path="/categories" component={Categories} />
      <Route path="/shop" component={ShopWindow} />
      <Route path="/sagas" component={Sagas} />
      <Route path="/events" component={Events} />
      <Route path="/events/:id">{({ id }) => <Stream key={id} id={id} />}</Route>
      <Route path="/messages" component={Messages} />
      <Route path="/dead-letters" component={DeadLetters} />
      <Route path="/read-models" component={ReadModels} />
      <Route path="/topology" component={Topology} />
      <Route path="/executions" component={Executions} />
      <Route path="/lab" component={FaultLab} />
      <Route path="/audit" component={Audit} />
      <Route path="/glossary" component={Glossary} />
      <Route component={NoSuchPage} />
    </Switch>
  </Suspense>
);

export const App = () => (
  <Languages>
    <ViewerProvider>
      <Layout>
        <Boundary>
          <Pages />
        </Boundary>
      </Layout>
    </ViewerProvider>
  </Languages>
);
