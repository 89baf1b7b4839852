"""Small specs of constructs rare in random ones: delays, directions, laws, losses."""

from __future__ import annotations

RARE_TIMES: dict[str, str] = {
    "backward": """
input x: real[2]
state g, k: real[3] = learned
state h: real[3] = -1
output y: real[3]
M = g[t-2..t+2]
N = k[t+1..t+3]
g[t] = tanh(A g[t+1] + B k' + U x)
k[t] = tanh(C g[t+2] + Nᵀ softmax(N g[t+1]) + x2)
x2 = D x[t-1]
h' = tanh(E h[t-3] + g[t-2])
y = h' + Mᵀ softmax(M h) + k[t-1]
""",
    "window across": """
input x: real[2]
state g: real[3] = 0.4
output y: real[5] at end
g[t] = tanh(A g[t+1] + U x)
M = g[t-2..t+2]
y = M g'
""",
    "laws": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
z = tanh(V h')
p = (z, h)
h' = x ⊕ h
y = z
law x ⊕ z ≈ x[t-1] ⊕ h[t-2] weight 0.3
law f(p) ≈ z
operator f((a, c)) = A a + c
law softmax(W1 a) ≈ dropout(0.5, h') weight 2
law a + 1 ≈ W2 h
""",
    "law gap": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
h' = x ⊕ h
y = h'
law softmax(a) ≈ W2 h
""",
    "law gap one": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-2..t]
a = M h'
h' = x ⊕ h
y = h'
law a + 1 ≈ W2 h
""",
    "law tuple": """
input x: real[2]
state h: real[3]
output y: real[3]
z = tanh(V h')
p = (z, h)
h' = x ⊕ h
y = z
law f(p) ≈ z
operator f((a, c)) = A a + c
""",
    "loss lines": """
input x: binary[3]
input s: symbol[4]
state h: real[3]
output y: real at end
X = s[t-2..t]
M = h[t-2..t]
h' = tanh(W h + U x + E s)
x' = ▷ h'
s' = ▷₂ h'
y = sum(h')
loss dot(h', V x') weight 0.5
loss -log(0.1 + dot(softmax(X (Q h')), X s'))
loss dot(E s', h[t-2]) weight 3
loss sum(M x')
""",
    "loss gap": """
input x: binary[3]
input s: symbol[4]
state h: real[3]
X = s[t-2..t]
M = h[t-2..t]
h' = tanh(W h + U x + E s)
x' = ▷ h'
s' = ▷₂ h'
loss sum(softmax(M x'))
loss sum((M x' + 1) ⊙ (X s' - 2))
""",
    "kinks": """
input x: binary[4]
state h: real[4]
output y: real[4]
output z: real[2]
param r: vector
h' = 0.5 * h + x
y = relu(A x) + abs(A x) + leaky_relu(A x) + elu(A x) + softsign(A x)
z = maxout(2, x) + lp(2, A x, r) + maxout(2, h')
""",
    "init learned deep": """
input x: real[2]
state h: real[3] = learned
output y: real[3]
h' = tanh(W h[t-4] + U x[t-3])
y = h[t-6] + h' ⊙ h[t-2]
""",
    "resting state": """
input x: real[2]
state h: real[3] = learned
state g: real[3] = 2
output y: real[3]
h' = h
g' = g[t-2] + h'
y = h + g
""",
    "stopgrad everywhere": """
input x: real[2]
state h: real[3] = learned
output y: real[3]
M = h[t-2..t]
h' = tanh(W stopgrad(h) + U x + V h[t-2])
y = Mᵀ softmax(stopgrad(M h')) + stopgrad(h') ⊙ h' + Mᵀ stopgrad(M h')
""",
    "long ragged history": """
input x: real[2]
input s: symbol[3]
state h: real[3] = -1.5
output y: real[3]
h' = 0.5 * h + tanh(U x[t-4]) ⊙ h[t-5] + E s[t-3]
y = h'
""",
    "loop locals": """
model m(k = 3, f = 0.25):
    input x: real[2]
    z_0 = x
    for l in 1..k:
        state h_l: real[2] = 0.1
        if l % 2 == 0 and not l == 4:
            h_l' = (1 - f) * h_l[t-l] + z_{l-1} ⊕_l h_l
        else:
            h_l' = z_{l-1} ⊗_{l+1} h_l
            operator x ⊗_{l+1} h = tanh(W_l x + V_{l+1} h)
        z_l = h_l' + W_l x
    x' = ▷_{k} z_{k}
""",
    "windows of a carried": """
input x: real[2]
state h: real[3]
output y: real[3]
M = h[t-4..t-2]
h' = tanh(Mᵀ softmax(M (A x)) + U x)
y = h'
""",
    "scalar state": """
input x: real
state h: real = 0.3
output y: real[3]
param v: vector, real[3]
h' = tanh(w h + x)
param w: diagonal
y = v ⊙ h' + h / v
""",
    "loops of laws": """
model m(n = 2, w = 0.5):
    input x: binary[n]
    for l in 1..2:
        state h_l: real[n] = learned
        h_l' = x ⊕_l h_l[t-l]
        law x ⊕_l (x ⊕_l h_l) ≈ h_l' weight w * l
        loss l * dot(h_l, h_l') weight w / l
    for l in 5..4:
        loss sum(nothing)
    x' = h_1' + h_{1 + 1}'
    loss dot(x', h_2')
""",
    "delays of sizes": """
model m(n = 4, k = 2, rate = 0.3):
    input x: real[n // 2]
    state h: real[2 * n]
    state g: real[n - k]
    output y: real[n**k // 2]
    output z: real[2] at end
    h' = (1 - rate) * h[t-k-1] + rate * tanh(W h[t - 2**k] + U x[t-n])
    g' = x[t]
    y = h[t]
    z = g[t-3] + x[t-1]
""",
    "carried parts": """
input x: real[2]
input s: symbol[3]
state h, k, l: real[2] = 0.7
output y: real[2]
h' = x
k' = h[t-3] + k
l' = E s[t-2] + l[t-4]
y = k' - l + h[t-1] + x[t-5]
""",
    "unread": """
input x: real[2]
input u: real[3]
state h, k: real[2] = learned
output y: real[2]
h' = tanh(W h + x)
k' = V h' + k
y = h'
z = P u + k[t-9]
""",
    "zeros at end": """
input x: real[2]
state g: real[2]
output y: real[2] at end
output w: real[3] at end
g[t] = x + 0.5 * g[t+2]
y = g[t+1] + g'
M = g[t..t+2]
w = softmax(M x)
""",
    "state from parameter": """
input x: real[2]
state h: real[2]
output y: real[2]
param a: vector, real[2]
h' = a
y = h + a ⊙ x
""",
    "stopgrad reads": """
input x: real[2]
state h: real[2] = learned
output y: real[2]
h' = tanh(W stopgrad(h) + U stopgrad(x[t-1]) + h[t-2])
y = stopgrad(h') ⊙ h + stopgrad(h[t-2]) ⊙ x
""",
}
