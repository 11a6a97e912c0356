-- How many orders came in on each day (UTC), from how many customers?
select
  cast(date_trunc('day', createdat) as date) as day,
  count(*) as orders,
  count(distinct customer['id']) as customers
from lake.orders
group by 1
order by day
