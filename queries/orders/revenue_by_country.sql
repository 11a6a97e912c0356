-- What was sold to each country, to how many of its cities, without what was cancelled?
select
  coalesce(customer['address']['country'], 'unknown') as country,
  currency,
  count(distinct customer['address']['city']) as cities,
  count(*) as orders,
  round(sum(total), 2) as revenue
from lake.orders
where status <> 'cancelled'
group by 1, 2
order by country, currency
