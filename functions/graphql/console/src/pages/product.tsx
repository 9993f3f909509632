import { useState } from "react";
import { Link } from "wouter";

import { graphql, type ResultOf } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useLive } from "../api/use-live.ts";
import { useT } from "../i18n/index.tsx";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { FormDialog } from "../ui/form.tsx";
import { moneyOf, numberOf } from "../ui/format.ts";
import { LiveSign } from "../ui/live.tsx";
import { changedFields } from "../ui/changed.ts";
import { Time } from "../ui/time.tsx";
import { ADJUST_STOCK, DELETE_PRODUCT, UPDATE_PRODUCT } from "./catalogue.ts";
import { type Option, withPresent } from "./options.ts";
import { useCategories } from "./use-categories.ts";

const PRODUCT = graphql(`
  query Product($id: ID!) {
    product(id: $id) {
      id
      name
      description
      price
      currency
      categoryId
      stockQuantity
      reservedQuantity
      availableQuantity
      active
      updatedAt
      category {
        id
        name
      }
    }
  }
`);

const STOCK = graphql(`
  subscription StockUpdates($id: ID!) {
    stockUpdates(productId: $id) {
      stockQuantity
      reservedQuantity
      availableQuantity
    }
  }
`);

const Product = ({ id }: { id: string }) => {
  const t = useT();
  const asked = useAsk(PRODUCT, { id });
  const { options } = useCategories();
  const [stock, setStock] = useState<{ stockQuantity: number | null; reservedQuantity: number | null }>();
  const live = useLive(STOCK, { id }, (data) => setStock(data.stockUpdates));
  return (
    <>
      {!asked.data?.product && <h1>{t("product")}</h1>}
      <Answer asked={asked} missing={t("products.noSuch", { id })}>
        {({ product }) =>
          product && (
            <>
              <div className="row between">
                <h1>{product.name}</h1>
                <LiveSign live={live} />
              </div>
              <section className="panel">
                {!product.active && <p className="note">{t("product.inactive")}</p>}
                <dl className="facts">
                  <dt>{t("description")}</dt>
                  <dd>{product.description ?? "–"}</dd>
                  <dt>{t("product.category")}</dt>
                  <dd>
                    {product.category && (
                      <Link href={`/products?category=${product.category.id}`}>{product.category.name}</Link>
                    )}
                  </dd>
                  <dt>{t("product.price")}</dt>
                  <dd>{moneyOf(product.price, product.currency, t.language)}</dd>
                  <dt>{t("product.stock")}</dt>
                  <dd>{numberOf(stock?.stockQuantity ?? product.stockQuantity ?? 0, t.language)}</dd>
                  <dt>{t("product.reserved")}</dt>
                  <dd>{numberOf(stock?.reservedQuantity ?? product.reservedQuantity ?? 0, t.language)}</dd>
                  <dt>{t("updated")}</dt>
                  <dd>
                    <Time at={product.updatedAt} />
                  </dd>
                </dl>
                <div className="row">
                  <Link href={`/events/${id}`} className="button">
                    {t("order.events")}
                  </Link>
                  <Change key={product.updatedAt} product={product} options={options} done={asked.again} />
                  <FormDialog
                    permission="admin"
                    title={t("product.adjust")}
                    refused={product.active ? undefined : t("product.inactive")}
                    fields={[
                      { name: "delta", label: t("product.delta"), required: true, type: "number" },
                      { name: "reason", label: t("act.reason.optional") },
                    ]}
                    run={({ delta, reason }) => send(ADJUST_STOCK, { id, delta: Number(delta), reason: reason || null })}
                    done={asked.again}
                  />
                  <ActButton
                    permission="admin"
                    kind="danger"
                    refused={product.active ? undefined : t("product.inactive")}
                    run={() => send(DELETE_PRODUCT, { id })}
                    done={asked.again}
                    confirm={{ title: t("product.delete"), text: t("product.delete.what") }}
                  >
                    {t("product.delete")}
                  </ActButton>
                </div>
              </section>
            </>
          )
        }
      </Answer>
    </>
  );
};

type ChangeProps = {
  product: NonNullable<ResultOf<typeof PRODUCT>["product"]>;
  options: readonly Option[];
  done: () => void;
};

const Change = ({ product, options, done }: ChangeProps) => {
  const t = useT();
  const { id, name, price, categoryId, category } = product;
  const opened = { name, description: product.description ?? "", price, categoryId };
  const present = { value: categoryId, label: category?.name ?? t("category.unknown", { id: categoryId }) };
  return (
    <FormDialog
      permission="admin"
      title={t("product.change")}
      refused={product.active ? undefined : t("product.inactive")}
      fields={[
        { name: "name", label: t("name"), required: true, value: name },
        { name: "description", label: t("description"), type: "long", value: opened.description },
        { name: "price", label: t("product.price"), required: true, value: price },
        {
          name: "categoryId",
          label: t("product.category"),
          required: true,
          value: categoryId,
          options: withPresent(options, present),
        },
      ]}
      run={(given) => send(UPDATE_PRODUCT, { id, input: changedFields(opened, given) })}
      done={done}
    />
  );
};

export default Product;
