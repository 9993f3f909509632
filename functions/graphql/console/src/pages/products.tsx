import { useState } from "react";
import { useLocation } from "wouter";

import { useT } from "../i18n/index.tsx";
import { send } from "../ui/act.tsx";
import { Cut } from "../ui/cut.tsx";
import { Filters, TextFilter } from "../ui/filters.tsx";
import { FormDialog } from "../ui/form.tsx";
import { useUrl } from "../ui/use-url.ts";
import { CREATE_PRODUCT, OFFERED } from "./catalogue.ts";
import { FoundProducts } from "./found-products.tsx";
import { withPresent } from "./options.ts";
import { ProductTable } from "./product-table.tsx";
import { useCategories } from "./use-categories.ts";

const Products = () => {
  const t = useT();
  const [url, change] = useUrl();
  const [, navigate] = useLocation();
  const [round, setRound] = useState(0);
  const { all, options } = useCategories();
  const categoryId = url.get("category");
  const unknown = all ? t("category.unknown", { id: categoryId ?? "" }) : t("answer.loading");
  return (
    <>
      <div className="row between">
        <h1>{t("nav.products")}</h1>
        <FormDialog
          key={round}
          permission="admin"
          title={t("product.create")}
          fields={[
            { name: "name", label: t("name"), required: true },
            { name: "description", label: t("description"), type: "long" },
            { name: "price", label: t("product.price"), required: true, pattern: "\\d+(\\.\\d+)?" },
            { name: "stockQuantity", label: t("product.stock"), type: "number" },
            {
              name: "categoryId",
              label: t("product.category"),
              required: true,
              options,
            },
          ]}
          run={async ({ name, description, price, stockQuantity, categoryId }) => {
            const stock = stockQuantity ? Number(stockQuantity) : null;
            const input = {
              name: name ?? "",
              description: description || null,
              price: price ?? "",
              categoryId: categoryId ?? "",
              stockQuantity: stock,
            };
            const outcome = await send(CREATE_PRODUCT, { input });
            if ("data" in outcome) {
              setRound(round + 1);
              navigate(`/products/${outcome.data.createProduct?.id ?? ""}`);
            }
            return outcome;
          }}
        />
      </div>
      <Filters>
        <TextFilter name="search" label={t("filter.search")} />
        <label>
          {t("product.category")}
          <select
            value={categoryId ?? ""}
            onChange={(event) => change({ category: event.target.value, after: undefined, before: undefined }, false)}
          >
            <option value="">{t("filter.all")}</option>
            {withPresent(options, categoryId ? { value: categoryId, label: unknown } : undefined).map(
              ({ value, label }) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ),
            )}
          </select>
        </label>
        <Cut of={all} to={OFFERED} says="category.cut" />
      </Filters>
      <FoundProducts categoryId={categoryId}>{(products) => <ProductTable products={products} />}</FoundProducts>
    </>
  );
};

export default Products;
