-- depends: 0021_incarnation

-- Clients subscribe themselves. Of what happens in a district a client is not rung for other
-- people's webhooks, nor for exports of others.

set role rosterhub_owner;

-- Whose export it tells of.
alter table rosterhub.webhook_events add column client text;

-- Whether an event is for a webhook of this client; null: one of the district, told everything.
create function rosterhub.rung(client text, type text, of_client text) returns boolean
language sql
immutable
as $$
    select client is null or case
        when type like 'webhook.%' then false
        when type like 'csv.export.%' then coalesce(of_client = client, false)
        else true
    end
$$;
grant execute on function rosterhub.rung(text, text, text) to rosterhub_app;

reset role;
