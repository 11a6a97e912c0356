-- Which five articles brought in the most euros, by list price?
select
  line['sku'] as sku,
  sum(line['quantity']) as pieces,
  count(distinct order_id) as orders,
  round(sum(line['quantity'] * line['unitprice']), 2) as goods
from (select order_id, unnest(lines) as line from lake.orders where currency = 'EUR') as ordered
group by 1
order by goods desc, sku
limit 5
