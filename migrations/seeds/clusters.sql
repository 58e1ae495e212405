-- Starting points for the clusters around Nairobi, good to about a kilometre: WGS 84, read off a
-- map. Nothing loads them by itself:
--
--   psql "$DATABASE_URL" -f migrations/seeds/clusters.sql
--
-- A cluster that has a row already keeps it, so that it may be run again. The tickets move at once.
-- No person has verified these points: tickets.geo_review lists them.

insert into tickets.geo_clusters (cluster, geom, provider)
select s.cluster, public.st_setsrid(public.st_makepoint(s.longitude, s.latitude), 4326), 'seed'
from (
  values
    ('Embakasi', -1.32, 36.90),
    ('Karen', -1.32, 36.71),
    ('Kasarani', -1.22, 36.90),
    ('Kilimani', -1.29, 36.79),
    ('Langata', -1.36, 36.75),
    -- Tickets name it PTMP.
    ('Pipeline', -1.32, 36.89),
    -- Tickets name it QOA.
    ('Quarry Road', -1.28, 36.84),
    ('Rongai', -1.39, 36.76),
    ('Ruaka', -1.21, 36.78),
    ('Syokimau', -1.36, 36.93),
    ('Thika', -1.04, 37.07),
    ('Westlands', -1.27, 36.81)
) as s (cluster, latitude, longitude)
on conflict (cluster) do nothing;
