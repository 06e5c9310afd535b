import { writeFileSync } from 'node:fs'

// Writes tickets.csv: `node examples/tickets/make.ts`. The same rows every time. What people write to a support desk,
// put together from parts; the ids are of the kinds that real exports have, and no API would take as they are.

const ROWS = 240

const SLOTS: Readonly<Record<string, readonly string[]>> = {
  machine: ['Vik', 'Fjell', 'Fjell Duo', 'Skarv'],
  grinder: ['Korn', 'Korn 64'],
  code: ['E01', 'E02', 'E04', 'E05', 'E06', 'E07', 'E10', 'E12'],
  roast: ['Dagslys', 'Hverdag', 'Mørk', 'Stille'],
  city: ['Graz', 'Zürich', 'Århus', 'Lyon', 'Utrecht', 'Liège', 'Göttingen', 'Køge', 'Bern', 'Lübeck'],
  name: ['Jörg', 'Amélie', 'Søren', 'Zoë', 'Katrin', 'Björn', 'Noémie', 'Ruud', 'Ömer', 'Małgorzata'],
  day: ['Monday', 'Tuesday', 'last Wednesday', 'the 3rd', 'the 11th', 'Saturday', 'two weeks ago'],
  amount: ['12.90', '24.80', '49.00', '79.00', '118.60', '249.00', '389.00', '1,149.00'],
  count: ['two', 'three', 'four', 'six'],
}

const OPENINGS = [
  '',
  '',
  'Hello,\n\n',
  'Hi there,\n\n',
  'Good morning,\n\n',
  'Dear support team,\n\n',
  'To whom it may concern:\n\n',
  'hey,\n\n',
]
const CLOSINGS = [
  '',
  '',
  '\n\nThanks!',
  '\n\nKind regards\n{name}',
  '\n\nBest, {name}',
  '\n\nPlease answer soon.\n{name}',
  '\n\nSent from my phone',
  '\n\nI am writing for the third time now.\n{name}',
  '\n\n{name}, {city}',
]

/** Subject, text. A text in another language brings its own opening and closing. */
const ENGLISH: readonly (readonly [subject: string, text: string])[] = [
  [
    '{machine} does not heat',
    'My {machine} has not been getting hot since {day}. The lamp blinks, the pump runs, the cup stays cold. I bought it in spring, order HC-{order}.',
  ],
  [
    '{code}',
    'The display of my {machine} says {code} after descaling. I have run the rinse twice. Is it broken, and what would a repair cost if the warranty is over?',
  ],
  [
    'Water everywhere',
    'This morning the {machine} ran out over the whole worktop, about a litre. It is under warranty (HC-{order}). What do I do now, can I still use it?',
  ],
  [
    'a few drops',
    'After steaming milk there are a few drops under my {machine}. Is that normal? Everything else is fine.',
  ],
  [
    'Smell',
    'Lovely machine, lovely coffee, thank you for the quick delivery. One thing: since {day} there is a smell like burnt plastic near the plug of the {machine} when it has been on for a while.',
  ],
  [
    'Grinder rattles',
    'The {grinder} rattles as if there were a stone in it. I stopped at once. How do I open it without losing the grind setting?',
  ],
  [
    'metallic taste',
    'I have used the {machine} for {count} months and now the coffee tastes of metal. I descaled it with vinegar in {city}, as my mother always did.',
  ],
  [
    'Steam valve',
    'My Skarv has the number 24-K-1{serial} and the steam knob wobbles. I read something about an exchange of parts?',
  ],
  [
    'Which size?',
    'Does the {machine} fit under a cupboard of 36 cm? And does the tank come out to the side?',
  ],
  [
    'Discount code refused',
    'The code WELCOME10 is refused at checkout. It is my second order, but the first one was cancelled by you, so it should count as my first.',
  ],
  [
    'Ordered twice',
    'I clicked twice and now I have HC-{order} and HC-{order2}. I only need one of them, please cancel the other before it is packed!',
  ],
  [
    'Change of address',
    'Please send HC-{order} to my office in {city} instead of my home. I am travelling from {day} on.',
  ],
  ['Please cancel', 'Cancel HC-{order}. I found the {machine} for {amount} less elsewhere, sorry.'],
  [
    'Where is my parcel?',
    'HC-{order} was promised for {day}. Tracking says "in the depot, Hamburg" and I live in {city}. Is it lost?',
  ],
  [
    'Delivered?',
    'The carrier says HC-{order} was handed over on {day}, signed "{name}". Nobody of that name lives here, and I was at home all day.',
  ],
  [
    'Box crushed',
    'The box of my {machine} arrived crushed on one side, and the drip tray is cracked. I took photos before opening it. Order HC-{order}.',
  ],
  ['One bag missing', 'I ordered {count} bags of {roast} and one less was in the parcel. HC-{order}.'],
  [
    'Customs',
    'At the door in {city} I had to pay import tax, and your invoice shows German VAT on top of it: {amount} in total. That cannot be right.',
  ],
  [
    'Return',
    'I would like to return the {grinder} (HC-{order}, delivered {day}). It works, I just do not like the noise. I have no printer; is there another way?',
  ],
  [
    'Refund?',
    'You got my parcel back on {day}. Until today no {amount} on my account. When can I expect it?',
  ],
  ['Exchange', 'Can I exchange {count} unopened bags of {roast} for Hverdag? I misread the label.'],
  [
    'Pause',
    'Please pause my subscription for {count} weeks, we are away. I cannot find the button any more since the page looks different.',
  ],
  [
    'End subscription',
    'I was charged {amount} again although I do not want the beans any more. Please end the subscription, HC-{order} was the last one for me.',
  ],
  [
    'Grind',
    'My subscription is set to filter, but I bought a {machine} and need espresso from the next shipment on. Is it enough to change it in the account on {day}?',
  ],
  [
    'Stille every two weeks',
    'I subscribed to Stille every two weeks and it comes every four. Nobody told me. Either send it as ordered or change the price.',
  ],
  [
    'Wrong roast',
    'You sent {roast}, I ordered something else. It came with the subscription. No drama, but I cannot drink it.',
  ],
  [
    'Charged twice',
    'My card was charged twice for HC-{order}: {amount} on {day} and the same amount a day later. Please return one of them.',
  ],
  [
    'Two lines on my statement',
    'There are two lines of {amount} on my card statement, one says "reserved". Did I pay twice?',
  ],
  [
    'VAT number',
    'We need our VAT number on the invoice of HC-{order}. Our accountant closes the month on {day}.',
  ],
  [
    'Invoice',
    'Could you send me the invoice of HC-{order} once more? I need it for the warranty. It is from 2022.',
  ],
  [
    'Reminder',
    'I got a second reminder for HC-{order} although {amount} left my account on {day}. Please check before you send this to a collection agency.',
  ],
  [
    'Gift card',
    'The gift card from my sister shows a balance of 0, it should be {amount}. I have not used it.',
  ],
  [
    'Price went down',
    'I bought the {machine} on {day} and now it is {amount} cheaper on your page. Can you do something about it?',
  ],
  [
    'Code does not come',
    'I am trying to sign in and the code never arrives, not in spam either. My order HC-{order} leaves today and I must change it.',
  ],
  [
    'Strange order',
    'I got a confirmation for HC-{order}, {count} machines to an address in {city}. I did not order anything! And my e-mail address in the account is another one now.',
  ],
  [
    'My data',
    'Under Article 15 GDPR I ask for a copy of all personal data that you hold about me. My customer e-mail is the one I write from.',
  ],
  [
    'Delete my account',
    'Delete my account and everything in it. A parcel (HC-{order}) is still on the way, keep that one please.',
  ],
  ['Newsletter', 'I have unsubscribed {count} times and your newsletter still comes. What do I have to do?'],
  [
    "Somebody else's invoice",
    'Attached to your mail was the invoice of a person in {city} whom I do not know, with address and everything.',
  ],
  [
    'Glass',
    'I pulled a small splinter of glass out of my cup this morning. The beans were {roast}, roasted on {day}. I hope this was the only one.',
  ],
  [
    'Nuts',
    'My son is allergic to hazelnuts. Can he be around when I grind {roast}? Your page says nothing about it.',
  ],
  [
    'Rash',
    'After drinking {roast} for the first time I got a rash and my lips were swollen; it went away after an hour with my pills. Could there be traces of something in it?',
  ],
  [
    'Thank you',
    'Jelena was so patient with me on the telephone on {day}. The {machine} works again. Please tell her!',
  ],
  [
    'Job',
    'I am a trained roaster from {city} and would like to work with you. May I send my papers to this address?',
  ],
  [
    '200 bags a month',
    'We run {count} cafés in {city} and are looking for a roaster, about 200 bags a month. Whom can I talk to?',
  ],
  [
    'How do I clean this',
    'How do I get the old coffee out of the shower screen of the {machine}? Nothing is broken, I am just curious.',
  ],
  [
    'Repair takes long',
    'My Fjell Duo has been with you since {day}. It was to take eight working days. I was told there are loan machines?',
  ],
  [
    'Scratch',
    'The {machine} came back from repair with a scratch on the left side. It was not there before, I have photos.',
  ],
  [
    'App',
    'The app lost the connection (E14) and since then the coffee of my Skarv is only lukewarm. Are these two things one problem?',
  ],
  [
    'Plug',
    'Just send me the invoice of HC-{order} again please. And by the way, is it normal that the plug of the {machine} gets so hot that I cannot hold it?',
  ],
]

const OTHERS: readonly (readonly [language: string, subject: string, text: string])[] = [
  [
    'de',
    'Maschine läuft aus',
    'Guten Tag,\n\nmeine {machine} läuft seit gestern aus, die ganze Arbeitsplatte steht unter Wasser. Gekauft habe ich sie im März (HC-{order}). Über eine schnelle Rückmeldung würde ich mich freuen.\n\nMit freundlichen Grüßen\n{name}',
  ],
  [
    'de',
    'Abo pausieren',
    'Hallo, könnt ihr mein Abo bis Ende Januar pausieren? Wir sind im Süden und trinken dort „richtigen“ Kaffee ;-)\n\nGrüße, {name}',
  ],
  [
    'de',
    'Paket verschwunden',
    'Laut Verfolgung wurde HC-{order} am {dayDe} zugestellt. Bei mir ist nichts angekommen, auch nicht beim Nachbarn. Ich schreibe jetzt zum dritten Mal!',
  ],
  [
    'de',
    'Rechnung mit USt-IdNr.',
    'Sehr geehrte Damen und Herren,\n\nbitte ergänzen Sie auf der Rechnung zu HC-{order} unsere USt-IdNr. Wir sitzen in Österreich; die berechnete Umsatzsteuer von {amount} € hätte nicht anfallen dürfen.',
  ],
  [
    'de',
    'Fehler {code}',
    'Nach dem Entkalken zeigt die {machine} {code}. Spülprogramm habe ich schon zweimal laufen lassen, bricht jedes Mal nach drei Minuten ab.',
  ],
  [
    'de',
    'Kündigung',
    'Hiermit kündige ich mein Abonnement fristgerecht zum nächstmöglichen Zeitpunkt. Bitte bestätigen Sie mir die Kündigung schriftlich.\n\n{name}, {city}',
  ],
  [
    'fr',
    'Colis endommagé',
    'Bonjour,\n\nle carton de ma {machine} est arrivé écrasé et le réservoir est fêlé. J’ai pris des photos. Commande HC-{order}.\n\nCordialement,\n{name}',
  ],
  [
    'fr',
    'Prélevé deux fois',
    'Ma carte a été débitée deux fois de {amount} € pour la commande HC-{order}, le 3 et le 4. Merci de me rembourser l’un des deux.',
  ],
  [
    'nl',
    'Code komt niet aan',
    'Ik probeer in te loggen maar de code komt niet aan, ook niet bij de spam. Mijn bestelling HC-{order} gaat vandaag de deur uit!',
  ],
  [
    'da',
    'Kværnen larmer',
    'Hej\n\nMin {grinder} larmer, som om der var en sten i den. Må jeg selv skille den ad, eller bortfalder garantien så?\n\nVenlig hilsen\n{name}',
  ],
]

/** What exports of real desks have in this column. Two that a careless cleaning would make one are neighbours here. */
const AWKWARD_IDS = [
  'T.17',
  'T 17',
  'T-17',
  'a b',
  'a.b',
  'a,b',
  'say "hello"',
  'Größe/3',
  'Årsag nr. 4',
  '№ 9',
  '2026-11-03T08:15:00+01:00',
  'desk@halden.example#81',
  '☕ 12',
  "O'Neill; 5",
  '007',
  '7',
  'a_very_long_id_from_the_old_system_that_nobody_dares_to_rename_any_more_0001',
  'a_very_long_id_from_the_old_system_that_nobody_dares_to_rename_any_more_0002',
]

let state = 20_261_122

/** A whole number below `below`; the same sequence in every run (mulberry32). */
function draw(below: number): number {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
}

function pick<T>(choices: readonly T[]): T {
  return choices[draw(choices.length)]!
}

function digits(length: number): string {
  return String(draw(10 ** length)).padStart(length, '0')
}

function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (_, slot: string) => values[slot]!)
}

function ticket(index: number): { subject: string; text: string } {
  const values: Record<string, string> = {
    order: digits(6),
    order2: digits(6),
    serial: String(180 + draw(240)),
    dayDe: pick(['Montag', 'Dienstag', '3. November', '11. November']),
  }
  for (const [slot, choices] of Object.entries(SLOTS)) values[slot] = pick(choices)
  // Every sixth is in another language; the others go round, so that every kind of ticket comes up about as often.
  if (index % 6 === 5) {
    const [, subject, text] = OTHERS[Math.floor(index / 6) % OTHERS.length]!
    return { subject: fill(subject, values), text: fill(text, values) }
  }
  const [subject, text] = ENGLISH[(index * 7) % ENGLISH.length]!
  const filled = fill(subject, values)
  return {
    subject: pick([filled, filled, filled.toUpperCase(), `Re: ${filled}`]),
    text: fill(pick(OPENINGS) + text + pick(CLOSINGS), values),
  }
}

function csvField(value: string): string {
  return /[",\n\r;]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
}

/** Every 13th row from the fourth on has an awkward id. */
function idOf(index: number): string {
  return (index % 13 === 3 ? AWKWARD_IDS[(index - 3) / 13] : undefined) ?? `HD-${4000 + index}`
}

const lines = ['id,received,channel,subject,text']
for (let index = 0; index < ROWS; index += 1) {
  const two = (value: number) => String(value).padStart(2, '0')
  const received = `2026-11-${two(2 + Math.floor(index / 12))} ${two(6 + draw(15))}:${two(draw(60))}`
  const channel = pick(['mail', 'mail', 'form', 'chat'])
  const { subject, text } = ticket(index)
  lines.push([idOf(index), received, channel, subject, text].map(csvField).join(','))
}
writeFileSync(new URL('tickets.csv', import.meta.url), `${lines.join('\n')}\n`)
