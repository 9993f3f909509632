import { Link } from "wouter";

import { useT } from "../i18n/index.tsx";
import { moneyOf, numberOf } from "../ui/format.ts";
import { Table } from "../ui/table.tsx";

export type ListedProduct = {
  id: string;
  name: string;
  description: string | null;
  price: string;
  currency: string;
  stockQuantity: number | null;
  reservedQuantity: number | null;
  availableQuantity: number | null;
  category: { id: string; name: string } | null;
};

export const ProductTable = ({ products }: { products: readonly ListedProduct[] }) => {
  const t = useT();
  const units = (n: number | null) => (n === null ? t("unknown") : numberOf(n, t.language));
  return (
    <Table
      caption={t("nav.products")}
      rows={products}
      keyOf={({ id }) => id}
      columns={[
        { name: t("product"), cell: ({ id, name }) => <Link href={`/products/${id}`}>{name}</Link> },
        { name: t("product.category"), cell: ({ category }) => category?.name ?? "" },
        {
          name: t("product.price"),
          number: true,
          cell: ({ price, currency }) => moneyOf(price, currency, t.language),
        },
        { name: t("product.stock"), number: true, cell: ({ stockQuantity }) => units(stockQuantity) },
        { name: t("product.reserved"), number: true, cell: ({ reservedQuantity }) => units(reservedQuantity) },
        { name: t("product.available"), number: true, cell: ({ availableQuantity }) => units(availableQuantity) },
      ]}
    />
  );
};
