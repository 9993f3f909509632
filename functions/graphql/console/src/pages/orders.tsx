import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Status } from "../ui/badge.tsx";
import { Choice, Filters, MomentFilter, TextFilter } from "../ui/filters.tsx";
import { moneyOf } from "../ui/format.ts";
import { momentIn } from "../ui/moments.ts";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { Personal } from "../ui/personal.tsx";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { useUrl } from "../ui/use-url.ts";
import { OrderLink } from "./order-link.tsx";

const ORDERS = graphql(`
  query Orders($first: Int, $after: String, $last: Int, $before: String, $filter: OrderFilterInput) {
    ordersConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          id
          userId
          status
          totalAmount
          currency
          sagaCurrentStep
          createdAt
          items {
            productName
            quantity
          }
        }
      }
    }
  }
`, [PAGE_INFO]);

const STATUSES = [
  "PENDING",
  "INVENTORY_RESERVED",
  "PAYMENT_PROCESSED",
  "SHIPPED",
  "CONFIRMED",
  "CANCELLED",
  "FAILED",
] as const;

const EVERY_MS = 5_000;

const Orders = () => {
  const t = useT();
  const [url] = useUrl();
  const filter = {
    status: STATUSES.find((status) => status === url.get("status")) ?? null,
    userId: url.get("user"),
    createdAfter: momentIn(url.get("from")),
    createdBefore: momentIn(url.get("to")),
  };
  const asked = useAsk(ORDERS, { ...pageOf(url), filter }, { every: EVERY_MS });
  return (
    <>
      <div className="row between">
        <h1>{t("nav.orders")}</h1>
        <Link href="/shop" className="button main">
          {t("orders.new")}
        </Link>
      </div>
      <Filters>
        <Choice name="status" label={t("status")} options={STATUSES} />
        <TextFilter name="user" label={t("orders.user")} hint={t("orders.user.hint")} />
        <MomentFilter name="from" label={t("filter.from")} />
        <MomentFilter name="to" label={t("filter.to")} />
      </Filters>
      <Paged asked={asked} of={({ ordersConnection }) => ordersConnection} empty={<p>{t("orders.none")}</p>}>
        {(orders) => (
          <Table
            caption={t("nav.orders")}
            rows={orders}
            keyOf={({ id }) => id}
            columns={[
              {
                name: t("orders.order"),
                cell: ({ id }) => <OrderLink id={id} />,
              },
              { name: t("status"), cell: ({ status }) => <Status of={status} /> },
              { name: t("orders.step"), cell: ({ sagaCurrentStep }) => sagaCurrentStep ?? "" },
              {
                name: t("orders.items"),
                cell: ({ items }) => items.map(({ productName, quantity }) => `${productName} × ${quantity}`).join(", "),
              },
              {
                name: t("orders.total"),
                number: true,
                cell: ({ totalAmount, currency }) => moneyOf(totalAmount, currency, t.language),
              },
              { name: t("orders.user"), cell: ({ userId }) => <Personal of={userId} /> },
              { name: t("orders.created"), cell: ({ createdAt }) => <Ago at={createdAt} /> },
            ]}
          />
        )}
      </Paged>
    </>
  );
};

export default Orders;
