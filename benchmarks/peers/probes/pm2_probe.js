// Asks pm2, as its own client does: each line "NAME PID" is answered once NAME is shown with another pid.
const pm2 = require(process.argv[2]);
const lines = require("readline").createInterface({ input: process.stdin });
pm2.connect((error) => {
  if (error) throw error;
  console.log("ready");
  lines.on("line", (line) => {
    const [name, pid] = line.split(" ");
    const ask = () =>
      pm2.describe(name, (failed, list) => {
        if (failed) throw failed;
        if (list.length && list[0].pid === Number(pid)) setImmediate(ask);
        else console.log("seen");
      });
    ask();
  });
  lines.on("close", () => process.exit(0));
});
