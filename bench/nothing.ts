// Measured for what Node.js itself takes to start and end.
export {}
