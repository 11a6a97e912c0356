-- How many pushes went to each branch, how many of them told it as an object, and in how many different texts?
-- payload.ref is a string in early objects and an object in later ones, so the column holds text: the branch, or the
-- object as minified JSON, whatever whitespace the raw object had.
select
  case
    when payload['ref'] like '{%' then split_part(payload['ref'], '"', 4)
    else btrim(payload['ref'], '"')
  end as branch,
  count(*) as pushes,
  count(*) filter (where payload['ref'] like '{%') as as_object,
  count(distinct case when payload['ref'] like '{%' then payload['ref'] end) as object_texts
from lake.feed
where payload['ref'] is not null
group by 1
order by branch
