-- How many readings of how many devices carry each tag?
select tag, count(*) as readings, count(distinct device) as devices
from (select device, unnest(tags) as tag from lake.readings) as tagged
group by tag
order by readings desc, tag
