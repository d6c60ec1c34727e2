--
-- PostgreSQL database dump
--

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

--
-- Name: set_updated_at(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END;
$$;

--
-- Name: projects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.projects (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_projects_name CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200)))
);

--
-- Name: projects_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.projects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.projects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: x121_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.x121_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    duration interval NOT NULL
);

--
-- Data for Name: projects; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (1, 'project 1', 'x', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (2, 'project 2', 'xx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (3, 'project 3', 'xxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (4, 'project 4', 'xxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (6, 'project 6', 'xxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (8, 'project 8', 'xxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (9, 'project 9', 'xxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (11, 'project 11', 'xxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (12, 'project 12', 'xxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (13, 'project 13', 'xxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (14, 'project 14', 'xxxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (16, 'project 16', 'xxxxxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (17, 'project 17', 'xxxxxxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (18, 'project 18', 'xxxxxxxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (19, 'project 19', 'xxxxxxxxxxxxxxxxxxx', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.942825+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (5, 'project 5', 'changed', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.944491+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (10, 'project 10', 'changed', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.944514+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (15, 'project 15', 'changed', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.944517+00');
INSERT INTO public.projects OVERRIDING SYSTEM VALUE VALUES (20, 'project 20', 'changed', '2026-11-28 00:43:50.942825+00', '2026-11-28 00:43:50.944519+00');

--
-- Data for Name: x121_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.x121_migrations VALUES (1, 'set_updated_at', '1ff92eb5a72c103748a8d7615f92a9ff46b22c87141a9c381bfc20b4f822c62b', '2026-11-28 00:43:50.924468+00', '00:00:00.000819');
INSERT INTO public.x121_migrations VALUES (2, 'advance_updated_at', 'c1603e914c023abcd4e79bd37fdfd84bc6468e83c8140e09153a01d6607f8a8a', '2026-11-28 00:43:50.925221+00', '00:00:00.000384');
INSERT INTO public.x121_migrations VALUES (3, 'create_projects', 'b2bb97417dcdd94d9399c0a8592eebf20664ef94a6d680514fdf05b6a3b33155', '2026-11-28 00:43:50.927061+00', '00:00:00.001641');

--
-- Name: projects_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.projects_id_seq', 20, true);

--
-- Name: projects projects_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);

--
-- Name: projects uq_projects_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.projects
    ADD CONSTRAINT uq_projects_name UNIQUE (name);

--
-- Name: x121_migrations x121_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.x121_migrations
    ADD CONSTRAINT x121_migrations_pkey PRIMARY KEY (version);

--
-- Name: projects set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.projects FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

--
-- PostgreSQL database dump complete
--
