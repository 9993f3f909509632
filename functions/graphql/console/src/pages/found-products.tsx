import type { ReactNode } from "react";

import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Answer } from "../ui/answer.tsx";
import { Cut } from "../ui/cut.tsx";
import { Paged } from "../ui/paged.tsx";
import { pageOf } from "../ui/pager.tsx";
import { useUrl } from "../ui/use-url.ts";
import { PRODUCTS, SEARCH, SEARCHED } from "./catalogue.ts";
import type { ListedProduct } from "./product-table.tsx";

type Props = {
  categoryId?: string | null;
  /** The length of a page. */
  length?: number;
  children: (products: readonly ListedProduct[]) => ReactNode;
};

/** The products that the search in the address finds; without a search, a page of all. */
export const FoundProducts = ({ categoryId = null, length, children }: Props) => {
  const t = useT();
  const [url] = useUrl();
  const term = url.get("search");
  const listed = useAsk(PRODUCTS, { ...pageOf(url, length), filter: { categoryId } }, { pause: Boolean(term) });
  const found = useAsk(SEARCH, { term: term ?? "", categoryId, limit: SEARCHED + 1 }, { pause: !term });
  const empty = <p>{t("products.none")}</p>;
  return term ? (
    <Answer asked={found} isEmpty={({ searchProducts }) => searchProducts?.length === 0} empty={empty}>
      {({ searchProducts }) => (
        <>
          {children(searchProducts?.slice(0, SEARCHED) ?? [])}
          <Cut of={searchProducts} to={SEARCHED} says="list.cut" />
        </>
      )}
    </Answer>
  ) : (
    <Paged asked={listed} of={({ productsConnection }) => productsConnection} empty={empty}>
      {children}
    </Paged>
  );
};
