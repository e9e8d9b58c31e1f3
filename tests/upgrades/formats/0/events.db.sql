BEGIN TRANSACTION;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,  -- milliseconds since the epoch
    agent TEXT,
    kind TEXT NOT NULL,
    event TEXT NOT NULL     -- all of it, as JSON
);
INSERT INTO "events" VALUES(1,1795995145781,NULL,'daemon_started','{"seq":1,"time":"2026-11-29T23:32:25.781Z","agent":null,"kind":"daemon_started","reason":null,"data":{"version":"0.1.0","pid":1192,"adopted":0}}');
INSERT INTO "events" VALUES(2,1795995145926,NULL,'config_loaded','{"seq":2,"time":"2026-11-29T23:32:25.926Z","agent":null,"kind":"config_loaded","reason":null,"data":{"agents":1,"source":"/srv/agentd/jcard.toml"}}');
INSERT INTO "events" VALUES(3,1795995145926,'a','declared','{"seq":3,"time":"2026-11-29T23:32:25.926Z","agent":"a","kind":"declared","reason":null,"data":{"state":"pending","provider":"custom","source":"/srv/agentd/jcard.toml"}}');
INSERT INTO "events" VALUES(4,1795995145928,'a','launched','{"seq":4,"time":"2026-11-29T23:32:25.928Z","agent":"a","kind":"launched","reason":null,"data":{"state":"starting","was":"pending","run":"6gmfq5xegdcjvyh6-8c744cd1b3ac000000","restarts":0}}');
INSERT INTO "events" VALUES(5,1795995145967,'a','started','{"seq":5,"time":"2026-11-29T23:32:25.967Z","agent":"a","kind":"started","reason":null,"data":{"state":"running","was":"starting","run":"6gmfq5xegdcjvyh6-8c744cd1b3ac000000","pid":1238,"restarts":0}}');
INSERT INTO "events" VALUES(6,1795995146217,'a','turn_started','{"seq":6,"time":"2026-11-29T23:32:26.217Z","agent":"a","kind":"turn_started","reason":null,"data":{"turn":"1238-1","prompt":"hello","characters":5,"conversation":"6gmfq5xegdcjvyh6-8c744cd1b3ac000000"}}');
INSERT INTO "events" VALUES(7,1795995146259,'a','turn_ended','{"seq":7,"time":"2026-11-29T23:32:26.259Z","agent":"a","kind":"turn_ended","reason":null,"data":{"turn":"1238-1","outcome":"completed","text":"I hear: hello","characters":13,"conversation":"6gmfq5xegdcjvyh6-8c744cd1b3ac000000"}}');
INSERT INTO "events" VALUES(8,1795995146330,'a','turn_started','{"seq":8,"time":"2026-11-29T23:32:26.330Z","agent":"a","kind":"turn_started","reason":null,"data":{"turn":"1238-2","prompt":"forever","characters":7,"conversation":"6gmfq5xegdcjvyh6-8c744cd1b3ac000000"}}');
CREATE INDEX events_by_time ON events (time);
COMMIT;
