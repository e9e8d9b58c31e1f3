PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,  -- milliseconds since the epoch
    agent TEXT,
    kind TEXT NOT NULL,
    event TEXT NOT NULL     -- all of it, as JSON
);
INSERT INTO "events" VALUES(1,1795995183337,NULL,'daemon_started','{"seq":1,"time":"2026-11-29T23:33:03.337Z","agent":null,"kind":"daemon_started","reason":null,"data":{"version":"0.1.0","pid":4304,"adopted":0}}');
INSERT INTO "events" VALUES(2,1795995183438,NULL,'config_loaded','{"seq":2,"time":"2026-11-29T23:33:03.438Z","agent":null,"kind":"config_loaded","reason":null,"data":{"agents":1,"source":"/srv/agentd/jcard.toml"}}');
INSERT INTO "events" VALUES(3,1795995183440,'a','declared','{"seq":3,"time":"2026-11-29T23:33:03.440Z","agent":"a","kind":"declared","reason":null,"data":{"state":"pending","provider":"custom","source":"/srv/agentd/jcard.toml"}}');
INSERT INTO "events" VALUES(4,1795995183441,'a','launched','{"seq":4,"time":"2026-11-29T23:33:03.441Z","agent":"a","kind":"launched","reason":null,"data":{"state":"starting","was":"pending","run":"fdlk66ljgzlqoiix-756d35030a4d000000","restarts":0}}');
INSERT INTO "events" VALUES(5,1795995183500,'a','started','{"seq":5,"time":"2026-11-29T23:33:03.500Z","agent":"a","kind":"started","reason":null,"data":{"state":"running","was":"starting","run":"fdlk66ljgzlqoiix-756d35030a4d000000","pid":4361,"restarts":0}}');
INSERT INTO "events" VALUES(6,1795995183787,'a','turn_started','{"seq":6,"time":"2026-11-29T23:33:03.787Z","agent":"a","kind":"turn_started","reason":null,"data":{"turn":"4361-1","prompt":"hello","characters":5,"conversation":"fdlk66ljgzlqoiix-756d35030a4d000000"}}');
INSERT INTO "events" VALUES(7,1795995183791,'a','turn_ended','{"seq":7,"time":"2026-11-29T23:33:03.791Z","agent":"a","kind":"turn_ended","reason":null,"data":{"turn":"4361-1","outcome":"completed","text":"I hear: hello","characters":13,"conversation":"fdlk66ljgzlqoiix-756d35030a4d000000"}}');
CREATE INDEX events_by_time ON events (time);
COMMIT;
