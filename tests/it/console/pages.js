// A person at the console, in a real browser. Prints what is wrong, a line each.
//   pages.js BASE [FOLDER]      FOLDER: where screenshots go
"use strict";
const { chromium } = require("playwright-core");

const [base, folder] = process.argv.slice(2);
const PAGES = {
  "/": "Source", "/source": "Where everybody stands", "/checks": "replica identity", "/dead-letters": "Dead letters",
  "/dead-letters/1": "As Postgres sent it", "/sinks/far": "Acknowledged last",
  "/trace?table=public.t&key=%7B%22id%22%3A3%7D": "insert", "/live": "Live",
  "/playground": "Nothing is stored", "/backfills": "Backfills", "/incidents": "What was asked for", "/config": "Config in force",
};
const wrong = [];
const check = (is, what) => { if (!is) wrong.push(what); };

async function fresh(browser, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (said) => {
    if (["error", "warning"].includes(said.type())) wrong.push(`${page.url()}: ${said.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`${page.url()}: ${error.message}`));
  page.on("request", (asked) => {
    if (!asked.url().startsWith(base)) wrong.push(`${page.url()} asks ${asked.url()}`);
  });
  return page;
}

// Every page: there, whole, quiet, and no wider than the screen.
async function look(browser, width, height, colorScheme) {
  const page = await fresh(browser, { viewport: { width, height }, colorScheme });
  const grounds = new Set();
  for (const [path, text] of Object.entries(PAGES)) {
    const where = `${path} at ${width}, ${colorScheme}`;
    const answer = await page.goto(base + path);
    check(answer.status() === 200, `${where}: ${answer.status()}`);
    check((await page.locator("main").innerText()).includes(text), `${where}: no "${text}"`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(over <= 0, `${where}: ${over} px too wide`);
    grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    if (folder) {
      const name = path.split("?")[0].replace(/\W+/g, "-").replace(/^-|-$/g, "") || "overview";
      await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png` });
    }
  }
  check(grounds.size === 1, `grounds differ: ${[...grounds]}`);
  await page.context().close();
  return [...grounds][0];
}

async function withoutScript(browser) {
  const page = await fresh(browser, { javaScriptEnabled: false });
  await page.goto(base + "/");
  const text = await page.locator("main").innerText();
  check(text.includes("far") && text.includes("near"), "no sinks without JavaScript");
  check((await page.locator("figure.chart svg").count()) >= 4, "no charts without JavaScript");
  await page.goto(base + "/sinks/far");
  const far = await page.locator("main").innerText();
  for (const part of ["422 × 1", "Breaker", "What was wrong", "sink far has 1 dead letter"]) {
    check(far.includes(part), `no ${part} of the sink`);
  }
  await page.goto(base + "/incidents");
  check((await page.locator("td.words code").first().innerText()).startsWith("walgate dlq list"), "no cure");
  await page.goto(base + "/dead-letters/1");
  check((await page.locator("pre.json").first().innerText()).includes("<b>c</b>"), "no row");
  check((await page.locator("main b").count()) === 0, "a row's value became markup");
  const disabled = await page.locator("button.act").evaluateAll((all) => all.every((it) => it.disabled));
  check(disabled, "a button that nobody can press looks as if");
  await page.context().close();
}

async function keys(browser) {
  const page = await fresh(browser, {});
  await page.goto(base + "/");
  await page.locator("#pulse.live").waitFor();
  await page.keyboard.press("?");
  check(await page.locator("#help").isVisible(), "? opens no help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.waitForURL("**/dead-letters");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/dead-letters?*");
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement.matches("input,select")), "/ finds no field");
  const before = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.locator("#theme").click();
  const after = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  check(before !== after, "the theme does not change");
  await page.reload();
  check((await page.evaluate(() => getComputedStyle(document.body).backgroundColor)) === after,
    "the theme is forgotten");
  await page.context().close();
}

// A mapping is edited and tried on a row that came; with a script and without.
async function play(browser, javaScriptEnabled) {
  const page = await fresh(browser, { javaScriptEnabled, viewport: { width: 390, height: 844 } });
  const how = javaScriptEnabled ? "with a script" : "without one";
  const answer = page.locator("#answer");
  const text = page.locator("textarea[name=toml]");
  const press = async (wanted) => {
    await page.getByRole("button", { name: "Try" }).click();
    await answer.getByText(wanted).first().waitFor();
    return answer.innerText();
  };
  await page.goto(base + "/playground?route=t-to-lab");
  const now = await text.inputValue();
  check(now.includes('name = { column = "v" }') && !now.includes("[sink"), `another text ${how}: ${now}`);
  const label = await page.locator("select[name=on] option", { hasText: '{"id":1}' }).first().innerText();
  await page.locator("select[name=on]").selectOption({ label });
  check((await press("It is the mapping in force.")).includes("1 passed"), `no test passes ${how}`);
  await text.fill(now.replace('column = "v"', `expr = "row.v + '!'"`));
  const said = await press('"name": "a!"');
  for (const part of ["sent", "computed from v", '"a"', "1 failed", 'name: expected "ann", found "ann!"',
    'field "name": "expr" is new', "raise it to 2", "walgate test", "walgate map --route t-to-lab"]) {
    check(said.includes(part), `no ${part} ${how}: ${said}`);
  }
  check((await text.inputValue()).includes("row.v + '!'"), `the text is gone ${how}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(over <= 0, `the answer is ${over} px too wide ${how}`);
  if (folder) await page.screenshot({ path: `${folder}/playground-tried-${how.replace(/ /g, "-")}.png`, fullPage: true });
  await text.fill(now.replace('column = "v"', 'column = "v", checks = "email"'));
  const wrong = await press("The mapping can't be read");
  check(/Line \d+, column 24: unknown key "checks"; did you mean "check"\?/.test(wrong), `no place ${how}: ${wrong}`);
  check(/\n +\^/.test(wrong), `no caret ${how}: ${wrong}`);
  await text.fill(now.replace('column = "v"', 'value = "${HOME}"'));
  check(!(await press("nothing is read from the environment")).includes("/root"), `HOME was read ${how}`);
  await text.fill(now.replace('column = "v"', 'column = "v", on_null = "reject"'));
  await page.locator("select[name=on]").selectOption("json");
  await page.locator("textarea[name=row]").fill('{"id": 7}');
  check((await press("is NULL")).includes("rejected"), `nothing is rejected ${how}`);
  await page.context().close();
}

// A sink is paused with a reason, and goes on.
async function pause(browser) {
  const page = await fresh(browser, {});
  await page.goto(base + "/sinks/near");
  await page.getByRole("button", { name: "Pause" }).click();
  check((await page.locator("#ask-twin").innerText()).startsWith("walgate sink pause near"), "no twin");
  await page.locator("#ask-reason").fill("disk swap");
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".badge", { hasText: "halted" }).first().waitFor();
  check((await page.locator("main").innerText()).includes("disk swap"), "no reason is shown");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".badge", { hasText: "ok" }).first().waitFor();
  await page.goto(base + "/incidents");
  check((await page.locator("main").innerText()).includes("console, 127.0.0.1"), "nobody asked");
  await page.context().close();
}

// The dead letter is sent again from its page.
async function replay(browser) {
  const page = await fresh(browser, {});
  await page.goto(base + "/dead-letters/1");
  await page.getByRole("button", { name: "Replay" }).click();
  check((await page.locator("#ask-twin").innerText()) === "walgate dlq replay 1", "another twin");
  await page.getByRole("button", { name: "Leave it" }).click();
  check(await page.locator(".badge", { hasText: "dead" }).isVisible(), "it was sent all the same");
  await page.getByRole("button", { name: "Replay" }).click();
  await page.getByRole("button", { name: "Do it" }).click();
  await page.locator(".badge", { hasText: "delivered" }).waitFor();
  await page.goto(base + "/dead-letters");
  await page.getByText("Nothing is set aside.").waitFor();
  await page.context().close();
}

(async () => {
  const executablePath = "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const light = await look(browser, 1280, 900, "light");
  const dark = await look(browser, 1280, 900, "dark");
  check(light !== dark, "dark is as light as light");
  await look(browser, 390, 844, "light");
  await withoutScript(browser);
  await keys(browser);
  await play(browser, true);
  await play(browser, false);
  await pause(browser);
  await replay(browser);
  await browser.close();
  for (const line of wrong) console.log(line);
  process.exit(wrong.length ? 1 : 0);
})().catch((error) => {
  console.log([...wrong, error.stack].join("\n"));
  process.exit(1);
});
