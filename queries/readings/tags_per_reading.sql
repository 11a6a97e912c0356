-- How many readings carry how many tags? A missing list and an empty one both count as none.
select coalesce(array_length(tags), 0) as tags, count(*) as readings
from lake.readings
group by 1
order by 1
