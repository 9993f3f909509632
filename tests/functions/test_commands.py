from tests.shop_in_memory import ShopInMemory
def test_x(shop: ShopInMemory) -> None:
    p = shop.new_product()
    o = shop.new_order(p)
    shop.settle()
    print([e.type for e in shop.log()])
    print(shop.graphql("{products{id name stockQuantity category{name productCount}} orders{id status reason}}"))
    print(shop.graphql('mutation($i:CreateCategoryInput!){createCategory(input:$i){id name}}',{"i":{"name":"日本"}}))

def test_y() -> None:
    import sys
    print([m for m in sys.modules if "conftest" in m or "shop_in" in m])
