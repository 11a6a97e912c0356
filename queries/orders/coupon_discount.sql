-- What did each coupon take off the price of the lines, over all currencies, in per cent?
with goods as (
  select order_id, sum(line['quantity'] * line['unitprice']) as goods
  from (select order_id, unnest(lines) as line from lake.orders) as ordered
  group by order_id
)
select
  o.coupon as coupon,
  count(*) as orders,
  round(100 * (sum(g.goods) - sum(o.total)) / sum(g.goods), 2) as discount_percent
from lake.orders as o
join goods as g on g.order_id = o.order_id
where o.coupon is not null
group by 1
order by coupon
