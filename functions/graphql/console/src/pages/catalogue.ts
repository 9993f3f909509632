import { graphql } from "../api/graphql.ts";
import { PAGE_INFO } from "../api/page-info.ts";

export const CATEGORIES = graphql(`
  query AllCategories($limit: Int!) {
    categories(limit: $limit) {
      id
      name
      parentId
    }
  }
`);

/** How many categories a choice offers. */
export const OFFERED = 500;

const LISTED_CATEGORY = graphql(`
  fragment ListedCategory on Category {
    id
    name
    description
    parentId
    parent {
      name
    }
    productCount
    updatedAt
  }
`);

const LISTED_PRODUCT = graphql(`
  fragment ListedProduct on Product {
    id
    name
    description
    price
    currency
    stockQuantity
    reservedQuantity
    availableQuantity
    category {
      id
      name
    }
  }
`);

export const CATEGORY_PAGE = graphql(`
  query Categories($first: Int, $after: String, $last: Int, $before: String, $filter: CategoryFilterInput) {
    categoriesConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter, sortBy: NAME) {
      totalCount
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          ...ListedCategory
        }
      }
    }
  }
`, [PAGE_INFO, LISTED_CATEGORY]);

export const SEARCH_CATEGORIES = graphql(`
  query SearchCategories($term: String!, $limit: Int!) {
    searchCategories(searchTerm: $term, limit: $limit) {
      ...ListedCategory
    }
  }
`, [LISTED_CATEGORY]);

export const PRODUCTS = graphql(`
  query Products($first: Int, $after: String, $last: Int, $before: String, $filter: ProductFilterInput) {
    productsConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter, sortBy: NAME) {
      totalCount
      pageInfo {
        ...PageOfConnection
      }
      edges {
        node {
          ...ListedProduct
        }
      }
    }
  }
`, [PAGE_INFO, LISTED_PRODUCT]);

/** How many of what a search finds are shown. */
export const SEARCHED = 100;

export const SEARCH = graphql(`
  query SearchProducts($term: String!, $categoryId: ID, $limit: Int!) {
    searchProducts(searchTerm: $term, categoryId: $categoryId, limit: $limit) {
      ...ListedProduct
    }
  }
`, [LISTED_PRODUCT]);

export const CREATE_PRODUCT = graphql(`
  mutation CreateProduct($input: CreateProductInput!) {
    createProduct(input: $input) {
      id
    }
  }
`);

export const UPDATE_PRODUCT = graphql(`
  mutation UpdateProduct($id: ID!, $input: UpdateProductInput!) {
    updateProduct(id: $id, input: $input) {
      id
    }
  }
`);

export const ADJUST_STOCK = graphql(`
  mutation AdjustStock($id: ID!, $delta: Int!, $reason: String) {
    adjustStock(id: $id, delta: $delta, reason: $reason) {
      id
    }
  }
`);

export const DELETE_PRODUCT = graphql(`
  mutation DeleteProduct($id: ID!) {
    deleteProduct(id: $id) {
      success
    }
  }
`);

export const CREATE_CATEGORY = graphql(`
  mutation CreateCategory($input: CreateCategoryInput!) {
    createCategory(input: $input) {
      id
    }
  }
`);

export const UPDATE_CATEGORY = graphql(`
  mutation UpdateCategory($id: ID!, $input: UpdateCategoryInput!) {
    updateCategory(id: $id, input: $input) {
      id
    }
  }
`);

export const DELETE_CATEGORY = graphql(`
  mutation DeleteCategory($id: ID!) {
    deleteCategory(id: $id) {
      success
    }
  }
`);
