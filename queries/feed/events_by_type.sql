-- How many events of each type are there, by how many people, and what share of all is that?
select
  type,
  count(*) as events,
  count(distinct actor['id']) as actors,
  round(100.00 * count(*) / sum(count(*)) over (), 2) as percent
from lake.feed
group by type
order by events desc, type
