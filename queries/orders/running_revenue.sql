-- How did revenue in euros grow from day to day?
with daily as (
  select cast(date_trunc('day', createdat) as date) as day, sum(total) as revenue
  from lake.orders
  where currency = 'EUR'
  group by 1
)
select
  day,
  round(revenue, 2) as revenue,
  round(sum(revenue) over (order by day), 2) as so_far,
  round(revenue - lag(revenue, 1, 0.0) over (order by day), 2) as change
from daily
order by day
