import { graphql } from "../api/graphql.ts";

export const CATEGORIES = graphql(`
  query AllCategories {
    categories(limit: 500) {
      id
      name
      description
      parentId
      productCount
    }
  }
`);

export const PRODUCTS = graphql(`
  query Products($first: Int, $after: String, $last: Int, $before: String, $filter: ProductFilterInput) {
    productsConnection(first: $first, after: $after, last: $last, before: $before, filter: $filter, sortBy: NAME) {
      totalCount
      pageInfo {
        hasNextPage
        hasPreviousPage
        startCursor
        endCursor
      }
      edges {
        node {
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
      }
    }
  }
`);

export const SEARCH = graphql(`
  query SearchProducts($term: String!, $categoryId: ID) {
    searchProducts(searchTerm: $term, categoryId: $categoryId, limit: 100) {
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
  }
`);

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
