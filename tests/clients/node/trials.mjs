// Run trials of a sweep from Node: `node trials.mjs ADDRESS TOKEN RUN_ID [WORKERS]`.
// It needs the proto files and nothing else of Whet: no generated code, no Python.
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const [address, token, run_id, workers = "1"] = process.argv.slice(2);
const protos = process.env.WHET_PROTO ?? join(dirname(fileURLToPath(import.meta.url)), "../../../proto");

const definition = protoLoader.loadSync("whet/v1/trial.proto", { includeDirs: [protos], keepCase: true, enums: String, longs: Number, defaults: true, oneofs: true });
const { whet } = grpc.loadPackageDefinition(definition);
const client = new whet.v1.TrialService(address, grpc.credentials.createInsecure(), { "grpc.max_reconnect_backoff_ms": 500 });
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${token}`);

// Everything may be repeated: the same request id gives the same trials, and what was told before counts once.
async function call(method, request) {
  for (;;) {
    try {
      return await new Promise((resolve, reject) =>
        client[method](request, metadata, { deadline: Date.now() + 30_000 }, (error, answer) => (error ? reject(error) : resolve(answer))),
      );
    } catch (error) {
      if (![grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.CANCELLED].includes(error.code)) throw error;
      await sleep(200);
    }
  }
}

// What is tuned: when a text counts as urgent. Put your own program here.
function classify({ threshold, shouting }, text) {
  const words = text.match(/\p{L}+/gu) ?? [];
  const loud = words.filter((word) => word.length > 1 && word === word.toUpperCase()).length;
  const marks = text.split("!").length - 1;
  return marks + (shouting === "counts" ? 3 * loud : 0) > threshold ? "urgent" : "calm";
}

async function run(trial, worker) {
  const parameters = Object.fromEntries(trial.parameters.map((each) => [each.name, each[each.value]]));
  const told = new Set(trial.told_case_ids);
  for (const item of trial.cases) {
    if (told.has(item.item_id)) continue;
    const begin = process.hrtime.bigint();
    const output = classify(parameters, item.input);
    const latency = { seconds: 0, nanos: Number(process.hrtime.bigint() - begin) };
    const { stop } = await call("TellTrial", { run_id, number: trial.number, cases: [{ case_id: item.item_id, output, latency }] });
    if (stop) break; // racing, a person or the budget: nothing more of this trial
  }
  const answer = await call("TellTrial", { run_id, number: trial.number, finished: true });
  console.log(JSON.stringify({ worker, number: trial.number, ...parameters, state: answer.trial.state, quality: answer.trial.quality.value }));
}

async function work(worker) {
  for (;;) {
    const { trials, ended, retry_after } = await call("AskTrials", { run_id, count: 1, worker, request_id: randomUUID() });
    if (ended) return;
    for (const trial of trials) await run(trial, worker);
    if (!trials.length) await sleep(Number(retry_after?.seconds ?? 1) * 1000);
  }
}

await Promise.all(Array.from({ length: Number(workers) }, (_, at) => work(`node-${process.pid}-${at + 1}`)));
client.close();
