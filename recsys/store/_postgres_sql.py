"""Functions in the server that give playlists to any language that speaks SQL.

They answer what :meth:`recsys.store.Store.playlist` answers, as JSON; null where that raises.
"""

from __future__ import annotations

from typing import Final

#: The function that the others are made for.
SHOWN: Final = "shown(bytea, text, date)"

FUNCTIONS: Final = """
CREATE OR REPLACE FUNCTION {schema}.little_endian(bytes bytea, start int, count int) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT bit_or(get_byte(bytes, start + n)::bigint << (8 * n))
    FROM generate_series(0, count - 1) n
$$;

CREATE OR REPLACE FUNCTION {schema}.float64(bits bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN bits < 0 THEN -1.0::float8 ELSE 1.0::float8 END * CASE
        WHEN bits & 9223372036854775807 = 0 THEN 0::float8
        WHEN (bits >> 52) & 2047 = 0
            THEN (bits & 4503599627370495)::float8 * power(2::float8, -1074)
        ELSE (bits & 4503599627370495 | 4503599627370496)::float8
            * power(2::float8, ((bits >> 52) & 2047) - 1075)
    END
$$;

CREATE OR REPLACE FUNCTION {schema}.unpacked(tracks bytea)
RETURNS TABLE (place int, track bigint, because bigint, score double precision, source int)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT n + 1,
        {schema}.little_endian(tracks, 17 * n, 4),
        {schema}.little_endian(tracks, 17 * n + 4, 4),
        {schema}.float64({schema}.little_endian(tracks, 17 * n + 8, 8)),
        get_byte(tracks, 17 * n + 16)
    FROM generate_series(0, length(tracks) / 17 - 1) n
$$;

CREATE OR REPLACE FUNCTION {schema}.parts(names json) RETURNS json[]  -- as ->, which refuses U+0000
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ARRAY(SELECT json_array_elements(names))
$$;

CREATE OR REPLACE FUNCTION {schema}.named(tables text, sources json, packed bytea)
RETURNS TABLE (place int, track text, is_blocked boolean)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT u.place, json_build_object(
            ''track_id'', t.parts[1], ''track_name'', t.parts[2],
            ''artist_names'', t.parts[3], ''score'', u.score, ''source'', $2[u.source + 1],
            ''because_track_id'', b.parts[1])::text,
            EXISTS (SELECT FROM {schema}.block k WHERE k.track_id = t.parts[1]::text)
        FROM {schema}.unpacked($1) u
        JOIN LATERAL (SELECT {schema}.parts(names) FROM {schema}.track_%1$s
            WHERE code = u.track) t ON true
        LEFT JOIN LATERAL (SELECT {schema}.parts(names) FROM {schema}.track_%1$s
            WHERE code = u.because) b ON true',
        tables) USING packed, {schema}.parts(sources);
END
$$;

CREATE OR REPLACE FUNCTION {schema}.may_stand(not_at bytea, spare int, place int) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT NOT EXISTS (
        SELECT FROM generate_series(0, length(not_at) / 4 - 1) n
        WHERE {schema}.little_endian(not_at, 4 * n, 2) = spare - 1
            AND {schema}.little_endian(not_at, 4 * n + 2, 2) = place
    )
$$;

CREATE OR REPLACE FUNCTION {schema}.shown(listener bytea, week text, day date) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_edition record;
    made bytea;
    form json[];
    tracks int;
    spares int;
    listed record;
    spare record;
    used int[] := '{}';
    shown json[] := '{}';
BEGIN
    SELECT e.* INTO found_edition FROM {schema}.store s JOIN {schema}.edition e ON CASE
            WHEN week IS NULL AND day IS NULL THEN e.digest = s.served
            ELSE e.state IN ('activated', 'superseded') AND NOT e.pruned
                AND e.edition = coalesce(week, e.edition)
                AND e.valid_from <= coalesce(day, e.valid_from)
        END
        ORDER BY e.edition COLLATE "C" DESC, e.revision DESC LIMIT 1;
    IF NOT FOUND OR EXISTS (
        SELECT FROM {schema}.tombstone t WHERE t.user_id = listener AND listener <> ''
    ) THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'SELECT playlist FROM {schema}.playlist_%s WHERE user_id = $1', found_edition.tables)
        INTO made USING listener;
    IF made IS NULL THEN
        RETURN NULL;
    END IF;
    form := {schema}.parts(
        ({schema}.parts(found_edition.forms))[{schema}.little_endian(made, 0, 2)::int + 1]);
    tracks := 17 * {schema}.little_endian(made, 2, 2)::int;  -- bytes
    spares := 17 * {schema}.little_endian(made, 4, 2)::int;
    FOR listed IN SELECT * FROM {schema}.named(
        found_edition.tables, found_edition.sources, substr(made, 7, tracks)) n ORDER BY n.place
    LOOP
        IF listed.is_blocked THEN
            SELECT n.place, n.track INTO spare FROM {schema}.named(
                found_edition.tables, found_edition.sources,
                substr(made, 7 + tracks, spares)) n
            WHERE NOT n.is_blocked AND NOT n.place = ANY (used) AND {schema}.may_stand(
                substr(made, 7 + tracks + spares), n.place, listed.place)
            ORDER BY n.place LIMIT 1;
            CONTINUE WHEN NOT FOUND;
            used := used || spare.place;
            listed.track := spare.track;
        END IF;
        shown := shown || format(
            '{"position": %s, %s', cardinality(shown) + 1, substr(listed.track, 2))::json;
    END LOOP;
    IF cardinality(shown) = 0 THEN
        RETURN NULL;
    END IF;
    RETURN json_build_object('edition', found_edition.edition,
        'user_id', convert_from(listener, 'UTF8'), 'kind', form[1],
        'tracks', array_to_json(shown), 'relaxed', form[2],
        'valid_from', found_edition.valid_from, 'valid_until', found_edition.valid_until);
END
$$;

CREATE OR REPLACE FUNCTION {schema}.playlist(
    listener text, week text DEFAULT NULL, day date DEFAULT NULL)
RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN listener <> '' THEN {schema}.shown(convert_to(listener, 'UTF8'), week, day) END
$$;

CREATE OR REPLACE FUNCTION {schema}.default_playlist(week text DEFAULT NULL)
RETURNS json LANGUAGE sql STABLE AS $$
    SELECT {schema}.shown('', week, NULL)
$$;
"""
