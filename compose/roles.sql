-- The logins of compose.yaml, made together with the database: see docs/how-to/deploy.md. The
-- superuser is for this alone.

\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv loader_password LOADER_PASSWORD

create extension if not exists postgis schema public;
create role fleettickets_loader nologin;
create role fleettickets_reader nologin;
create role fleettickets_owner login password :'owner_password';
create role fleettickets_cron login password :'loader_password' in role fleettickets_loader;
alter database fleettickets owner to fleettickets_owner;
