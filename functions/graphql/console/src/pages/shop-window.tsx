import { useState } from "react";
import { useLocation } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { useSession } from "../session/use-session.ts";
import { ActButton } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { Filters, TextFilter } from "../ui/filters.tsx";
import { moneyOf, numberOf } from "../ui/format.ts";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { FoundProducts } from "./found-products.tsx";
import { order } from "./order-once.ts";
import type { ListedProduct } from "./product-table.tsx";
import { OrderLink } from "./order-link.tsx";

const MINE = graphql(`
  query MyOrders {
    viewer {
      uid
      orders(first: 10) {
        edges {
          node {
            id
            status
            totalAmount
            currency
            createdAt
          }
        }
      }
    }
  }
`);

const EVERY_MS = 3_000;

/** The shop as its customers see it: order, and see one's own orders. */
const ShopWindow = () => {
  const t = useT();
  return (
    <>
      <h1>{t("nav.shop")}</h1>
      <p className="note">{t("shop.note")}</p>
      <Mine />
      <Filters>
        <TextFilter name="search" label={t("filter.search")} />
      </Filters>
      <FoundProducts length={12}>{(products) => <Shelf products={products} />}</FoundProducts>
    </>
  );
};

const Shelf = ({ products }: { products: readonly ListedProduct[] }) => (
  <ul className="shelf">
    {products.map((product) => (
      <Item key={product.id} product={product} />
    ))}
  </ul>
);

const Item = ({ product }: { product: ListedProduct }) => {
  const t = useT();
  const [, navigate] = useLocation();
  const [quantity, setQuantity] = useState("1");
  const available = product.availableQuantity ?? 0;
  return (
    <li>
      <strong>{product.name}</strong>
      <span className="note">{product.description}</span>
      <span className="price">{moneyOf(product.price, product.currency, t.language)}</span>
      <small>
        {available > 0 ? t("shop.available", { n: numberOf(available, t.language) }) : t("shop.soldOut")}
      </small>
      <div className="row">
        <label>
          {t("product.quantity")}
          <input
            type="number"
            min={1}
            max={1_000_000}
            value={quantity}
            onChange={(event) => setQuantity(event.target.value)}
          />
        </label>
        <ActButton
          permission="write"
          kind="main"
          run={async () => {
            const outcome = await order(product, Number(quantity));
            if ("data" in outcome) navigate(`/orders/${outcome.data}`);
            return outcome;
          }}
        >
          {t("shop.order")}
        </ActButton>
      </div>
    </li>
  );
};

const Mine = () => {
  const t = useT();
  const { user } = useSession();
  const asked = useAsk(MINE, {}, { every: EVERY_MS, pause: !user });
  if (!user) return null;
  return (
    <section className="panel">
      <h2>{t("shop.mine")}</h2>
      <Answer
        asked={asked}
        isEmpty={({ viewer }) => viewer?.orders?.edges.length === 0}
        empty={<p>{t("shop.noneYet")}</p>}
      >
        {({ viewer }) => (
          <Table
            caption={t("shop.mine")}
            rows={viewer?.orders?.edges.map(({ node }) => node) ?? []}
            keyOf={({ id }) => id}
            columns={[
              {
                name: t("orders.order"),
                cell: ({ id }) => <OrderLink id={id} />,
              },
              { name: t("status"), cell: ({ status }) => <Status of={status} /> },
              {
                name: t("orders.total"),
                number: true,
                cell: ({ totalAmount, currency }) => moneyOf(totalAmount, currency, t.language),
              },
              { name: t("orders.created"), cell: ({ createdAt }) => <Ago at={createdAt} /> },
            ]}
          />
        )}
      </Answer>
    </section>
  );
};

export default ShopWindow;
