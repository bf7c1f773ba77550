# Varnish 7 before `recsys serve`: docs/serve.md. Name its address in [serve] purge_url.
vcl 4.1;

import std;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 1s;
    .first_byte_timeout = 10s;
    .probe = {
        .url = "/health/live";
        .interval = 2s;
        .timeout = 1s;
        .window = 3;
        .threshold = 2;
        .initial = 2;
    }
}

# Who may say that what is served has changed: the machine of the weekly run and of `recsys`.
acl publisher {
    "localhost";
}

sub vcl_recv {
    if (req.method == "BAN") {
        if (client.ip !~ publisher) {
            return (synth(403));
        }
        ban("obj.status != 0");
        return (synth(200));
    }
    # Figures, health and the explorer are not for the public.
    if (req.url !~ "^/(v1/|openapi\.json$)") {
        return (synth(404));
    }
    set req.url = std.querysort(req.url);
    if (!req.http.Accept || (req.http.Accept ~ "\*/\*" && req.http.Accept !~ "json")) {
        set req.http.Accept = "*/*";
    }
    # What is over its age is given out only while the service cannot answer.
    if (req.restarts == 0 && std.healthy(req.backend_hint)) {
        set req.grace = 0s;
    } else {
        set req.grace = 24h;
    }
}

sub vcl_backend_response {
    if (beresp.status >= 500) {
        if (bereq.is_bgfetch) {
            return (abandon);
        }
        # Not kept, not even as a mark: it would hide what was kept before.
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        set beresp.grace = 0s;
        return (deliver);
    }
    set beresp.grace = 24h;
}

sub vcl_backend_error {
    set beresp.ttl = 0s; # likewise
    set beresp.grace = 0s;
    set beresp.keep = 0s;
}

sub vcl_deliver {
    # It failed between two probes: once more, and now what is over its age will do.
    if (resp.status >= 500 && req.restarts == 0) {
        return (restart);
    }
}
